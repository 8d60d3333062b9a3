/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "vhd/vhdx_guid.h"

static const uint8_t bat[VHDX_GUID_BYTES] = VHDX_REGION_BAT;

Test(vhdx_guid, has_its_first_fields_in_little_endian)
{
	static const uint8_t on_disk[] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
					   0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
	char text[UUID_TEXT_BYTES];

	cr_expect_arr_eq(bat, on_disk, sizeof(on_disk));
	vhdx_guid_text(bat, text);
	cr_expect_str_eq(text, "2dc27766-f623-4200-9d64-115e9bfd4a08");
}

Test(vhdx_guid, is_read_with_and_without_braces_in_either_case)
{
	static const char *const texts[] = { "2dc27766-f623-4200-9d64-115e9bfd4a08",
					     "{2dc27766-f623-4200-9d64-115e9bfd4a08}",
					     "{2DC27766-F623-4200-9D64-115E9BFD4A08}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint8_t guid[VHDX_GUID_BYTES] = { 0 };

		cr_expect_eq(vhdx_guid_read(texts[i], strlen(texts[i]), guid), 0, "%s", texts[i]);
		cr_expect(vhdx_guid_is(guid, bat), "%s", texts[i]);
	}
}

Test(vhdx_guid, that_is_no_guid_is_refused)
{
	static const char *const texts[] = { "",
					     "{}",
					     "2dc27766-f623-4200-9d64-115e9bfd4a0",
					     "2dc27766-f623-4200-9d64-115e9bfd4a088",
					     "2dc27766-f623-4200-9d64-115e9bfd4a0g",
					     "2dc277660f623-4200-9d64-115e9bfd4a08",
					     "{2dc27766-f623-4200-9d64-115e9bfd4a08",
					     "(2dc27766-f623-4200-9d64-115e9bfd4a08)" };
	uint8_t guid[VHDX_GUID_BYTES] = { 7 };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_expect_eq(vhdx_guid_read(texts[i], strlen(texts[i]), guid), -EINVAL, "%s",
			     texts[i]);
	cr_expect_eq(guid[0], 7, "the output of a failure is untouched");
}

Test(vhdx_guid, of_zeros_is_told)
{
	static const uint8_t zero[VHDX_GUID_BYTES], one[VHDX_GUID_BYTES] = { [15] = 1 };

	cr_expect(vhdx_guid_is_zero(zero));
	cr_expect_not(vhdx_guid_is_zero(one));
}
