/* SPDX-License-Identifier: MIT */
/* Keys from PKCS#11 tokens: see key_pkcs11.h. What is done with a token: key_token.c. */
#include "keys/key_pkcs11.h"

#include <errno.h>
#include <p11-kit/uri.h>
#include <stdio.h>
#include <string.h>

#include "keys/key_child.h"
#include "keys/key_token.h"

static const char *judge_query(P11KitUri *uri)
{
	const char *module_path = p11_kit_uri_get_module_path(uri);
	const char *pin_source = p11_kit_uri_get_pin_source(uri);

	if (p11_kit_uri_get_pin_value(uri))
		return "holds a PIN, and a command line is for all to see: put it into a file, and "
		       "name that with pin-source=file:/PATH";
	if (pin_source && !key_token_pin_path(pin_source))
		return "its pin-source must be file: and an absolute path";
	if (p11_kit_uri_get_module_name(uri))
		return "its module-name is not looked for: give module-path=/PATH";
	if (module_path && module_path[0] != '/')
		return "its module-path must be an absolute path";
	return NULL;
}

static const char *judge_object(P11KitUri *uri)
{
	const CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
	CK_OBJECT_CLASS type = CKO_SECRET_KEY;

	if (p11_kit_uri_any_unrecognized(uri))
		return "has an attribute that nobody knows";
	if (class && class->ulValueLen == sizeof(type))
		memcpy(&type, class->pValue, sizeof(type));
	if (type != CKO_SECRET_KEY)
		return "its type must be secret-key";
	if (!p11_kit_uri_get_attribute(uri, CKA_LABEL) && !p11_kit_uri_get_attribute(uri, CKA_ID))
		return "names no key of the token: give object=NAME or id=%NN...";
	return NULL;
}

const char *key_pkcs11_judge(const char *uri)
{
	P11KitUri *parsed = p11_kit_uri_new();
	const char *wrong;

	if (!parsed)
		return "cannot be judged: no memory";
	if (p11_kit_uri_parse(uri, P11_KIT_URI_FOR_ANY, parsed) != P11_KIT_URI_OK)
		wrong = "is not a PKCS#11 URI (RFC 7512)";
	else
		wrong = judge_query(parsed);
	if (!wrong)
		wrong = judge_object(parsed);
	p11_kit_uri_free(parsed);
	return wrong;
}

int key_pkcs11_read(const char *uri, const struct key_wanted *wanted, uint8_t *raw, size_t room,
		    char why[KEY_WHY_BYTES])
{
	struct key_token_order order = { .uri = uri };
	const struct key_child child = {
		.run = key_token_run,
		.arg = &order,
		.input = "",
		.deadline_ms = KEY_DEADLINE_MS,
	};
	const char *wrong = key_pkcs11_judge(uri);
	char uuid[UUID_TEXT_BYTES];

	if (!wrong && !wanted->has_uuid)
		wrong = "the key hangs on the image's UUID, which cannot be read";
	if (wrong) {
		snprintf(why, KEY_WHY_BYTES, "%s", wrong);
		return -EINVAL;
	}
	uuid_to_text(wanted->uuid, uuid);
	snprintf(order.message, sizeof(order.message), "sealblk-pkcs11-1 image=%s", uuid);
	return key_child_read(&child, raw, room, why);
}
