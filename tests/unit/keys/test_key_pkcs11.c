/* SPDX-License-Identifier: MIT */
/* Which PKCS#11 URIs are taken; no token is needed for that. */
#include "keys/key_pkcs11.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "keys/key_token.h"

Test(key_pkcs11, takes_uris_that_name_a_key)
{
	static const char *const good[] = {
		"pkcs11:object=kek",
		"pkcs11:id=%01%ff",
		"pkcs11:token=a%20token;object=kek;type=secret-key",
		"pkcs11:serial=1;id=%01?module-path=/usr/lib/x.so&pin-source=file:/etc/pin",
		"pkcs11:slot-id=3;object=kek?pin-source=file:///etc/pin",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_expect_null(key_pkcs11_judge(good[i]), "%s: %s", good[i],
			       key_pkcs11_judge(good[i]));
}

Test(key_pkcs11, refuses_others_and_says_why)
{
	static const struct {
		const char *uri, *why;
	} rows[] = {
		{ "", "is not a PKCS#11 URI" },
		{ "kek", "is not a PKCS#11 URI" },
		{ "http://kms/", "is not a PKCS#11 URI" },
		{ "pkcs11:object=%zz", "is not a PKCS#11 URI" },
		{ "pkcs11:token=a", "names no key" },
		{ "pkcs11:", "names no key" },
		{ "pkcs11:object=kek;colour=red", "attribute that nobody knows" },
		{ "pkcs11:object=kek;type=private", "must be secret-key" },
		{ "pkcs11:object=kek;type=cert", "must be secret-key" },
		{ "pkcs11:object=kek?pin-value=1234", "holds a PIN" },
		{ "pkcs11:object=kek?pin-source=file:/etc/pin&pin-value=", "holds a PIN" },
		{ "pkcs11:object=kek?pin-source=/etc/pin", "pin-source must be" },
		{ "pkcs11:object=kek?pin-source=file:pin", "pin-source must be" },
		{ "pkcs11:object=kek?pin-source=%7Ccat%20pin", "pin-source must be" },
		{ "pkcs11:object=kek?module-path=x.so", "module-path must be" },
		{ "pkcs11:object=kek?module-name=softhsm2", "module-name" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = key_pkcs11_judge(rows[i].uri);

		cr_assert_not_null(why, "%s", rows[i].uri);
		cr_expect(strstr(why, rows[i].why), "%s: %s", rows[i].uri, why);
	}
}

Test(key_pkcs11, finds_the_path_of_a_pin_source)
{
	cr_expect_str_eq(key_token_pin_path("file:/etc/pin"), "/etc/pin");
	cr_expect_str_eq(key_token_pin_path("file:///etc/pin"), "/etc/pin");
	cr_expect_null(key_token_pin_path("file:"));
	cr_expect_null(key_token_pin_path("file:/"));
	cr_expect_null(key_token_pin_path("file:///"));
	cr_expect_null(key_token_pin_path("file://host/pin"));
	cr_expect_null(key_token_pin_path("|cat /etc/pin"));
}

Test(key_pkcs11, wants_to_know_which_image)
{
	const struct key_wanted nothing_known = { 0 };
	char why[KEY_WHY_BYTES];
	uint8_t raw[64];

	cr_expect_eq(key_pkcs11_read("pkcs11:object=kek", &nothing_known, raw, sizeof(raw), why),
		     -EINVAL);
	cr_expect(strstr(why, "UUID"), "%s", why);
}
