/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/names.h"

static const uint8_t uuid[SEAL_UUID_BYTES] = "image of a test";
static const uint8_t key[MAC_KEY_BYTES] = "a key";

static struct seal_names area;
static struct mac_ctx mac;

static void begin(void)
{
	names_init(&area, uuid);
	cr_assert_eq(mac_init(&mac, key), 0);
}

static void end(void)
{
	mac_done(&mac);
}

TestSuite(names, .init = begin, .fini = end);

static void append(const char *name, const char *value)
{
	cr_assert_eq(names_append(&area, name, value, strlen(value)), 0);
}

static void finish(void)
{
	cr_assert_eq(names_finish(&area, 7, 2, &mac), 0);
}

/* After a lie in the bytes, so that the CRC is not what refuses it. */
static void sum_again(void)
{
	area.crc = le32_of(0);
	area.crc = le32_of(crc32c(0, &area, sizeof(area)));
}

static void expect_value(const char *name, const char *value)
{
	const uint8_t *found;
	size_t bytes;

	cr_assert_eq(names_find(&area, name, &found, &bytes), 0, "%s", name);
	cr_expect_eq(bytes, strlen(value));
	cr_expect_arr_eq(found, value, bytes);
}

Test(names, are_found_with_their_values)
{
	append("base.path", "m.vhd");
	append("base", "x");
	append("empty", "");
	finish();
	cr_assert_eq(names_check(&area, uuid), 0);
	cr_assert_eq(names_check_mac(&area, &mac), 0);
	expect_value("base.path", "m.vhd");
	expect_value("base", "x");
	expect_value("empty", "");
	cr_expect_eq(le64_get(area.generation), 7);
	cr_expect_eq(le64_get(area.mac_key_id), 2);
}

Test(names, that_are_absent_are_told)
{
	const uint8_t *found = NULL;
	size_t bytes = 1;

	append("base.path", "m.vhd");
	cr_expect_eq(names_find(&area, "base.pat", &found, &bytes), -ENOENT);
	cr_expect_eq(names_find(&area, "base.path2", &found, &bytes), -ENOENT);
	cr_expect_null(found);
	cr_expect_eq(bytes, 1);
}

Test(names, are_walked_in_order)
{
	struct names_record record;
	struct cursor next;

	append("one", "1");
	append("two", "22");
	next = names_first(&area);
	cr_assert(names_next(&next, &record));
	cr_expect_eq(record.name_bytes, 3);
	cr_expect_arr_eq(record.name, "one", 3);
	cr_assert(names_next(&next, &record));
	cr_expect_eq(record.value_bytes, 2);
	cr_expect_arr_eq(record.value, "22", 2);
	cr_expect_not(names_next(&next, &record));
}

Test(names, stand_only_once)
{
	append("one", "1");
	cr_expect_eq(names_append(&area, "one", "2", 1), -EEXIST);
	expect_value("one", "1");
}

Test(names, of_a_wrong_length_are_refused)
{
	static char longest[NAMES_NAME_BYTES_MAX + 2];
	static uint8_t value[NAMES_VALUE_BYTES_MAX + 1];

	memset(longest, 'n', sizeof(longest) - 1);
	cr_expect_eq(names_append(&area, "", "1", 1), -EINVAL);
	cr_expect_eq(names_append(&area, longest, "1", 1), -EINVAL);
	cr_expect_eq(names_append(&area, longest + 1, "1", 1), 0);
	cr_expect_eq(names_append(&area, "v", value, sizeof(value)), -EINVAL);
	cr_expect_eq(names_append(&area, "v", value, sizeof(value) - 1), 0);
	finish();
	cr_expect_eq(names_check(&area, uuid), 0);
}

Test(names, may_hold_binary_values)
{
	static const uint8_t value[5] = { 0, 255, 0, 1, 2 };
	const uint8_t *found;
	size_t bytes;

	cr_assert_eq(names_append(&area, "b", value, sizeof(value)), 0);
	cr_assert_eq(names_find(&area, "b", &found, &bytes), 0);
	cr_expect_eq(bytes, sizeof(value));
	cr_expect_arr_eq(found, value, sizeof(value));
}

Test(names, fill_the_area_to_its_last_byte_and_no_further)
{
	static uint8_t value[NAMES_VALUE_BYTES_MAX];
	size_t left_bytes;

	for (unsigned int i = 0; i < 3; i++)
		cr_assert_eq(
			names_append(&area, (char[2]){ (char)('a' + i) }, value, sizeof(value)), 0);
	left_bytes = sizeof(area.records) - le32_get(area.used_bytes);
	cr_expect_eq(names_append(&area, "d", value, left_bytes - 6), -ENOSPC);
	cr_expect_eq(names_append(&area, "d", value, left_bytes - 7), 0);
	cr_expect_eq(le32_get(area.used_bytes), sizeof(area.records));
	cr_expect_eq(names_append(&area, "e", NULL, 0), -ENOSPC);
	finish();
	cr_expect_eq(names_check(&area, uuid), 0);
}

Test(names, are_no_more_than_the_limit)
{
	char name[16];

	for (unsigned int i = 0; i < NAMES_RECORDS_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		cr_assert_eq(names_append(&area, name, NULL, 0), 0);
	}
	cr_expect_eq(names_append(&area, "more", NULL, 0), -ENOSPC);
	finish();
	cr_expect_eq(names_check(&area, uuid), 0);
}

Test(names, of_another_image_are_refused)
{
	static const uint8_t other[SEAL_UUID_BYTES] = "another";

	finish();
	cr_expect_eq(names_check(&area, other), -EBADMSG);
}

Test(names, with_a_changed_byte_are_refused_without_keys)
{
	append("one", "1");
	finish();
	for (size_t i = 0; i < sizeof(area); i += i < 256 ? 1 : 509) {
		((uint8_t *)&area)[i] ^= 0x10;
		cr_expect_eq(names_check(&area, uuid), -EBADMSG, "byte %zu", i);
		((uint8_t *)&area)[i] ^= 0x10;
	}
	cr_expect_eq(names_check(&area, uuid), 0);
}

Test(names, forged_with_a_good_crc_fail_the_mac)
{
	append("one", "1");
	finish();
	for (size_t i = 0; i < sizeof(area); i += i < 256 ? 1 : 509) {
		struct seal_names good = area;

		((uint8_t *)&area)[i] ^= 0x10;
		sum_again();
		if (memcmp(&area, &good, sizeof(area)) != 0)
			cr_expect_eq(names_check_mac(&area, &mac), -EBADMSG, "byte %zu", i);
		area = good;
	}
	cr_expect_eq(names_check_mac(&area, &mac), 0);
}

Test(names, under_another_key_fail_the_mac)
{
	static const uint8_t other_key[MAC_KEY_BYTES] = "another key";
	struct mac_ctx other;

	finish();
	cr_assert_eq(mac_init(&other, other_key), 0);
	cr_expect_eq(names_check_mac(&area, &other), -EBADMSG);
	mac_done(&other);
}

static int check_raw(const void *records, size_t bytes, size_t used_bytes)
{
	memset(area.records, 0, sizeof(area.records));
	memcpy(area.records, records, bytes);
	area.used_bytes = le32_of((uint32_t)used_bytes);
	sum_again();
	return names_check(&area, uuid);
}

static void expect_refused(const void *records, size_t bytes, size_t used_bytes)
{
	cr_expect_eq(check_raw(records, bytes, used_bytes), -EBADMSG);
}

#define EXPECT_REFUSED(records) expect_refused(records, sizeof(records) - 1, sizeof(records) - 1)

Test(names, are_read_from_the_bytes_of_the_format)
{
	static const char records[] = "\1\0\1\0\0\0ax\2\0\0\0\0\0bc";

	cr_assert_eq(check_raw(records, sizeof(records) - 1, sizeof(records) - 1), 0);
	expect_value("a", "x");
	expect_value("bc", "");
}

Test(names, in_unsound_records_are_refused)
{
	EXPECT_REFUSED("\0\0\1\0\0\0x");		 /* no name */
	EXPECT_REFUSED("\2\0\0\0\0\0a\0");		 /* a NUL in a name */
	EXPECT_REFUSED("\1\0\0\0\0\0a\1\0\1\0\0\0ax");	 /* the same name twice */
	EXPECT_REFUSED("\1\0\2\0\0\0ax");		 /* a value past the end */
	EXPECT_REFUSED("\1\0\0\0\0\0a\1\0\0");		 /* a torn header */
	EXPECT_REFUSED("\1\0\377\377\377\377a");	 /* an absurd value */
	EXPECT_REFUSED("\377\377\0\0\0\0a");		 /* an absurd name */
	expect_refused("", 0, sizeof(area.records) + 1); /* longer than the area */
	expect_refused("", 0, UINT32_MAX);
	expect_refused("\1\0\1\x20\0\0a", 7, 7 + 0x2001); /* a value above the limit */
}

Test(names, above_the_number_allowed_are_refused)
{
	static uint8_t records[(NAMES_RECORDS_MAX + 1) * 8];
	size_t most = sizeof(records) - 8;

	for (size_t i = 0; i <= NAMES_RECORDS_MAX; i++) {
		uint8_t record[8] = {
			2, 0, 0, 0, 0, 0, (uint8_t)(1 + i / 64), (uint8_t)(1 + i % 64)
		};

		memcpy(records + i * 8, record, sizeof(record));
	}
	cr_expect_eq(check_raw(records, most, most), 0);
	expect_refused(records, sizeof(records), sizeof(records));
}

/* Every walk ends, and finds only what lies inside the area. */
static void walk_inside(void)
{
	struct cursor next = names_first(&area);
	struct names_record record;
	unsigned int nr = 0;

	while (names_next(&next, &record)) {
		const uint8_t *name = (const uint8_t *)record.name;

		cr_assert(name >= area.records && record.value == name + record.name_bytes);
		cr_assert(record.value + record.value_bytes <= area.records + sizeof(area.records));
		cr_assert_lt(nr++, sizeof(area.records));
	}
}

Test(names, in_random_bytes_are_never_read_past_the_area)
{
	unsigned int seed = 20;
	unsigned int sound = 0;

	for (unsigned int round = 0; round < 4000; round++) {
		/* Small numbers, so that lengths are often plausible. */
		size_t used_bytes = (size_t)rand_r(&seed) % 64;

		memset(area.records, 0, sizeof(area.records));
		for (size_t i = 0; i < used_bytes; i++)
			area.records[i] = rand_r(&seed) % 4 ? 0 : (uint8_t)(rand_r(&seed) % 9);
		if (round % 2)
			used_bytes = sizeof(area.records) - used_bytes;
		area.used_bytes = le32_of((uint32_t)used_bytes);
		sum_again();
		sound += names_check(&area, uuid) == 0;
		walk_inside();
	}
	cr_expect_gt(sound, 0);
	cr_expect_lt(sound, 4000);
}

Test(names, changed_at_random_are_sound_or_refused)
{
	unsigned int seed = 21;

	append("base.path", "m.vhd");
	append("base.format", "vhd");
	append("meta.colour", "red");
	finish();
	for (unsigned int round = 0; round < 2000; round++) {
		struct seal_names good = area;
		size_t at = (size_t)rand_r(&seed) % 80;
		const uint8_t *value;
		size_t bytes;

		area.records[at] = (uint8_t)rand_r(&seed);
		sum_again();
		walk_inside();
		if (names_check(&area, uuid) == 0 &&
		    names_find(&area, "base.path", &value, &bytes) == 0)
			cr_expect_leq(bytes, NAMES_VALUE_BYTES_MAX);
		if (memcmp(&area.records, &good.records, sizeof(area.records)) != 0)
			cr_expect_eq(names_check_mac(&area, &mac), -EBADMSG);
		area = good;
	}
}
