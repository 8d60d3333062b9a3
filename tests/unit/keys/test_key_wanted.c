/* SPDX-License-Identifier: MIT */
/* The line that says what a key is wanted for. */
#include "keys/key_wanted.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t uuid[SEAL_UUID_BYTES] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
					       0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };

static void expect_line(const struct key_wanted *wanted, const char *line)
{
	char got[KEY_WANTED_LINE_BYTES];

	cr_expect_eq(key_wanted_line(wanted, got), strlen(line));
	cr_expect_str_eq(got, line);
}

Test(key_wanted, says_only_what_is_known)
{
	struct key_wanted wanted = { 0 };

	expect_line(&wanted, "sealblk-key-1 purpose=open\n");
	wanted = key_wanted_of(uuid, NULL);
	expect_line(&wanted,
		    "sealblk-key-1 purpose=open image=01234567-89ab-cdef-0123-456789abcdef\n");
}

Test(key_wanted, names_the_keys_of_slots_that_hold_a_raw_one)
{
	static struct seal_keyring ring;
	struct key_wanted wanted;

	ring.slots[0] = (struct seal_key_slot){ .kind = SEAL_KEK_RAW, .key_id = le64_of(1) };
	ring.slots[1] = (struct seal_key_slot){ .kind = SEAL_KEK_SCRYPT, .key_id = le64_of(4) };
	ring.slots[7] = (struct seal_key_slot){ .kind = SEAL_KEK_RAW, .key_id = le64_of(17) };
	wanted = key_wanted_of(uuid, &ring);
	expect_line(&wanted, "sealblk-key-1 purpose=open "
			     "image=01234567-89ab-cdef-0123-456789abcdef key-ids=1,17\n");
	wanted.is_new = true;
	expect_line(&wanted,
		    "sealblk-key-1 purpose=new image=01234567-89ab-cdef-0123-456789abcdef\n");
}

Test(key_wanted, has_room_for_the_longest_line)
{
	struct key_wanted wanted = key_wanted_of(uuid, NULL);
	char line[KEY_WANTED_LINE_BYTES];

	wanted.nr_key_ids = KEY_SLOTS_MAX;
	memset(wanted.key_ids, 0xff, sizeof(wanted.key_ids));
	cr_assert_lt(key_wanted_line(&wanted, line), sizeof(line));
	cr_expect_eq(line[strlen(line) - 1], '\n');
	cr_expect(strstr(line, ",18446744073709551615\n"));
}
