/* SPDX-License-Identifier: MIT */
/* What devices are called, and how the kernel keeps it for us. */
#include "control/attachment.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UUID_TEXT "93f7dc69-def8-47a9-a0c1-b697d46dcc63"

static char longest[ATTACH_NAME_BYTES_MAX + 2];

static void make_longest(void)
{
	memset(longest, 'n', ATTACH_NAME_BYTES_MAX);
}

Test(attachment, is_named_as_its_image_without_the_suffix)
{
	static const char *const rows[][2] = {
		{ "vm.seal", "vm" },
		{ "/srv/disks/vm.seal", "vm" },
		{ "vm", "vm" },
		{ "../a.b/web-1.2.seal", "web-1.2" },
		{ "/srv/disk_7.img", "disk_7" },
	};
	char name[ATTACH_NAME_BYTES_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		cr_assert_eq(attachment_default_name(rows[i][0], name), 0, "%s", rows[i][0]);
		cr_assert_str_eq(name, rows[i][1]);
	}
}

Test(attachment, has_no_default_name_where_that_would_be_a_bad_one)
{
	static const char *const bad[] = { "",		"/",	    "/srv/",
					   ".seal",	"..",	    "my vm.seal",
					   "vm\n.seal", "-rf.seal", "d\xc3\xbc.seal" };
	char name[ATTACH_NAME_BYTES_MAX + 1] = "untouched";

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(attachment_default_name(bad[i], name), -EINVAL, "%s", bad[i]);
	make_longest();
	cr_assert_eq(attachment_default_name(longest, name), 0);
	longest[ATTACH_NAME_BYTES_MAX] = 'n';
	cr_assert_eq(attachment_default_name(longest, name), -EINVAL);
}

Test(attachment, comes_back_as_it_was_given_to_the_kernel)
{
	struct attachment back, given = { .uuid = UUID_TEXT };
	char text[ATTACH_IDENTITY_BYTES + 1];

	make_longest();
	memcpy(given.name, longest, sizeof(given.name));
	attachment_encode(&given, text);
	cr_assert_eq(attachment_decode(text, &back), 0);
	cr_assert_str_eq(back.uuid, given.uuid);
	cr_assert_str_eq(back.name, given.name);
	strcat(text, "\n"); /* as sysfs has it */
	cr_assert_eq(attachment_decode(text, &back), 0);
	cr_assert_str_eq(back.name, given.name);
}

Test(attachment, is_nothing_that_others_have_given)
{
	static const char *const bad[] = {
		"",
		"\n",
		"sealblk",
		"sealblk-",
		"sealblk-" UUID_TEXT,
		"sealblk-" UUID_TEXT ":",
		"sealblk-" UUID_TEXT ":a/b",
		"sealblk-" UUID_TEXT ":vm\nvm",
		"sealblk-" UUID_TEXT ":vm\n\n",
		"sealblk-" UUID_TEXT "-vm",
		"Sealblk-" UUID_TEXT ":vm",
		"sealblk-93F7DC69-def8-47a9-a0c1-b697d46dcc63:vm",
		"sealblk-93f7dc69-def8-47a9-a0c1-b697d46dcc6:vm",
		"sealblk-93f7dc69",
	};
	struct attachment attachment;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(attachment_decode(bad[i], &attachment), -EINVAL, "%s", bad[i]);
}
