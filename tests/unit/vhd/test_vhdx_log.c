/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "vhd/vhdx_log.h"
#include "vhdx_image.h"

#define FILE_BYTES (8 * MIB)
#define TARGET	   (4 * MIB)

enum { SECTOR = VHDX_LOG_SECTOR_BYTES };

static struct vhdx_log_maker maker;
static struct vhdx_overlay overlay;
static struct vhdx_problem problem;
static uint8_t data[8][SECTOR]; /* sector i is all i + 1 */

static void begin(void)
{
	vhdx_log_begin(&maker, FILE_BYTES);
	for (int i = 0; i < 8; i++)
		memset(data[i], i + 1, SECTOR);
}

static void end(void)
{
	vhdx_overlay_done(&overlay);
}

TestSuite(vhdx_log, .init = begin, .fini = end);

static int replay(void)
{
	const struct vhdx_log log = {
		.bytes = maker.bytes,
		.nr_bytes = sizeof(maker.bytes),
		.offset_bytes = VHDX_TEST_LOG,
		.log_id = maker.log_id,
		.file_bytes = FILE_BYTES,
	};

	vhdx_overlay_done(&overlay);
	problem.reason = VHDX_FINE;
	return vhdx_log_replay(&log, &overlay, &problem);
}

static void add(unsigned int number, uint64_t offset)
{
	const struct vhdx_change change = { offset, data[number], 0 };

	vhdx_log_add(&maker, &change, 1);
}

static void expect_refused(enum vhdx_reason reason, uint64_t at_bytes)
{
	cr_expect_eq(replay(), -EINVAL);
	cr_expect_eq(problem.reason, reason, "reason %d, not %d", (int)problem.reason, (int)reason);
	cr_expect_eq(problem.at_bytes, VHDX_TEST_LOG + at_bytes, "at %lu",
		     (unsigned long)problem.at_bytes);
}

static void expect_byte(uint64_t offset, uint8_t wanted)
{
	uint8_t byte = 0xaa;

	vhdx_overlay_patch(&overlay, offset, &byte, 1);
	cr_expect_eq(byte, wanted, "at %lu: %u", (unsigned long)offset, byte);
}

Test(vhdx_log, entry_replaces_what_it_would_write)
{
	const struct vhdx_change changes[] = {
		{ TARGET, data[0], 0 },
		{ TARGET + SECTOR, NULL, 3 * SECTOR },
		{ TARGET + 2 * SECTOR, data[1], 0 },
	};
	uint8_t read[6 * SECTOR];

	vhdx_log_add(&maker, changes, 3);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.nr_updates, 3);
	cr_expect_eq(overlay.nr_entries, 1);
	memset(read, 0xaa, sizeof(read));
	vhdx_overlay_patch(&overlay, TARGET - SECTOR + 1, read, sizeof(read));
	for (size_t i = 0; i < sizeof(read); i++) {
		const size_t at = i + 1;
		const uint8_t wanted[] = { 0xaa, 1, 0, 2, 0, 0xaa, 0xaa };

		cr_assert_eq(read[i], wanted[at / SECTOR], "byte %zu: %u", at, read[i]);
	}
}

Test(vhdx_log, has_the_last_word_in_its_last_entry)
{
	add(0, TARGET);
	add(1, TARGET);
	add(2, TARGET);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.nr_entries, 3);
	expect_byte(TARGET, 3);
	expect_byte(TARGET + SECTOR - 1, 3);
	expect_byte(TARGET + SECTOR, 0xaa);
}

Test(vhdx_log, that_is_torn_at_its_end_counts_up_to_there)
{
	add(0, TARGET);
	add(1, TARGET);
	memset(vhdx_log_sector(&maker, maker.last_sector + 1), 0x11, SECTOR);
	cr_assert_eq(replay(), 0);
	expect_byte(TARGET, 1);
}

Test(vhdx_log, goes_on_behind_its_end_at_its_beginning)
{
	maker.at_sector = maker.tail_sector = VHDX_TEST_LOG_SECTORS - 3;
	add(0, TARGET);
	add(1, TARGET);
	add(2, TARGET + SECTOR);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.nr_entries, 3);
	expect_byte(TARGET, 2);
	expect_byte(TARGET + SECTOR, 3);
}

Test(vhdx_log, may_be_full)
{
	for (unsigned int i = 0; i < VHDX_TEST_LOG_SECTORS / 2; i++)
		add(i % 8, TARGET + i * SECTOR);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.nr_entries, VHDX_TEST_LOG_SECTORS / 2);
	expect_byte(TARGET + 127 * SECTOR, 8);
}

Test(vhdx_log, entries_before_the_tail_are_in_the_file_already)
{
	add(0, TARGET);
	maker.tail_sector = maker.at_sector;
	add(1, TARGET + SECTOR);
	add(2, TARGET + 2 * SECTOR);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.nr_entries, 2);
	expect_byte(TARGET, 0xaa);
	expect_byte(TARGET + SECTOR, 2);
}

Test(vhdx_log, of_two_sequences_the_newer_one_counts)
{
	add(0, TARGET);
	maker.at_sector = maker.tail_sector = 100;
	maker.sequence = 50;
	add(1, TARGET);
	maker.at_sector = maker.tail_sector = 10;
	maker.sequence = 20;
	add(2, TARGET);
	cr_assert_eq(replay(), 0);
	expect_byte(TARGET, 2);
}

Test(vhdx_log, entries_with_a_gap_between_their_numbers_are_no_sequence)
{
	add(0, TARGET);
	maker.sequence++;
	add(1, TARGET + SECTOR);
	cr_assert_eq(replay(), 0);
	expect_byte(TARGET, 1);
	expect_byte(TARGET + SECTOR, 0xaa);
}

Test(vhdx_log, with_many_descriptors_has_some_in_further_sectors)
{
	static struct vhdx_change changes[200];

	for (unsigned int i = 0; i < 200; i++)
		changes[i] = (struct vhdx_change){ TARGET + i * SECTOR, i % 2 ? data[i % 8] : NULL,
						   SECTOR };
	vhdx_log_add(&maker, changes, 200);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.nr_updates, 200);
	expect_byte(TARGET + 198 * SECTOR, 0);
	expect_byte(TARGET + 199 * SECTOR + 9, 8);
}

Test(vhdx_log, makes_the_file_longer)
{
	maker.last_bytes = FILE_BYTES + 3 * MIB;
	add(0, TARGET);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.end_bytes, FILE_BYTES + 3 * MIB);
	add(1, FILE_BYTES + 9 * MIB);
	cr_assert_eq(replay(), 0);
	cr_expect_eq(overlay.end_bytes, FILE_BYTES + 9 * MIB + SECTOR);
}

Test(vhdx_log, without_an_entry_is_refused)
{
	expect_refused(VHDX_LOG_EMPTY, 0);
}

Test(vhdx_log, of_a_file_that_was_cut_is_refused)
{
	maker.flushed_bytes = FILE_BYTES + 1;
	add(0, TARGET);
	expect_refused(VHDX_LOG_CUT, 48);
	cr_expect_eq(problem.value, FILE_BYTES + 1);
}

Test(vhdx_log, of_a_file_that_would_be_too_long_is_refused)
{
	maker.last_bytes = UINT64_MAX;
	add(0, TARGET);
	expect_refused(VHDX_TOO_LONG, 56);
}

Test(vhdx_log, that_would_change_the_headers_is_refused)
{
	add(0, TARGET);
	add(1, VHDX_REGION_TABLE_OFFSET - SECTOR);
	expect_refused(VHDX_LOG_ON_HEADER, 2 * SECTOR);
}

Test(vhdx_log, whose_oldest_entry_is_gone_is_refused)
{
	maker.tail_sector = 7;
	add(0, TARGET);
	expect_refused(VHDX_LOG_NO_SEQUENCE, 0);
}

/* Each field of an entry lies; the checksum is right. */
Test(vhdx_log, entry_that_lies_is_refused)
{
	struct vhdx_log_header *header = vhdx_log_header_at(&maker, 0);
	struct vhdx_log_descriptor *descriptor = vhdx_log_descriptor_at(&maker, 0, 0);
	static struct vhdx_log_maker sound;

	add(0, TARGET);
	sound = maker;
#define LIE(field, lie, reason, at)             \
	do {                                    \
		maker = sound;                  \
		(field) = lie;                  \
		vhdx_log_mend(&maker, 0);       \
		expect_refused((reason), (at)); \
	} while (0)
	LIE(header->nr_bytes, le32_of(0), VHDX_LOG_BAD_LENGTH, 8);
	LIE(header->nr_bytes, le32_of(SECTOR + 1), VHDX_LOG_BAD_LENGTH, 8);
	LIE(header->nr_bytes, le32_of(SECTOR), VHDX_LOG_BAD_COUNT, 0);
	LIE(header->nr_bytes, le32_of(3 * SECTOR), VHDX_LOG_BAD_COUNT, 0);
	LIE(header->tail, le32_of(512), VHDX_LOG_BAD_TAIL, 12);
	LIE(header->tail, le32_of(VHDX_TEST_LOG_BYTES), VHDX_LOG_BAD_TAIL, 12);
	LIE(header->sequence, le64_of(0), VHDX_LOG_BAD_SEQUENCE, 16);
	LIE(header->sequence, le64_of(2), VHDX_LOG_BAD_DESCRIPTOR, 0);
	LIE(header->nr_descriptors, le32_of(0), VHDX_LOG_BAD_COUNT, 0);
	LIE(header->nr_descriptors, le32_of(2), VHDX_LOG_BAD_DESCRIPTOR, 0);
	LIE(header->nr_descriptors, le32_of(UINT32_MAX), VHDX_LOG_BAD_COUNT, 24);
	LIE(header->log_id[0], 0, VHDX_LOG_OTHER_ID, 32);
	LIE(descriptor->signature[0], 'D', VHDX_LOG_BAD_DESCRIPTOR, 0);
	LIE(descriptor->offset, le64_of(TARGET + 512), VHDX_LOG_BAD_DESCRIPTOR, 0);
	LIE(descriptor->offset, le64_of(UINT64_MAX - 4095), VHDX_LOG_BAD_DESCRIPTOR, 0);
	LIE(descriptor->sequence, le64_of(9), VHDX_LOG_BAD_DESCRIPTOR, 0);
	LIE(vhdx_log_sector(&maker, 1)[0], 'D', VHDX_LOG_TORN, 0);
	LIE(vhdx_log_sector(&maker, 1)[4], 1, VHDX_LOG_TORN, 0);
	LIE(vhdx_log_sector(&maker, 1)[4095], 1, VHDX_LOG_TORN, 0);
#undef LIE
	maker = sound;
	maker.bytes[SECTOR + 1000] ^= 1;
	expect_refused(VHDX_LOG_BAD_CHECKSUM, 4);
}

Test(vhdx_log, zeros_that_lie_are_refused)
{
	const struct vhdx_change odd = { TARGET, NULL, 512 };
	const struct vhdx_change huge = { TARGET, NULL, UINT64_MAX - 4095 };

	vhdx_log_add(&maker, &odd, 1);
	expect_refused(VHDX_LOG_BAD_DESCRIPTOR, 0);
	begin();
	vhdx_log_add(&maker, &huge, 1);
	expect_refused(VHDX_LOG_BAD_DESCRIPTOR, 0);
}

/* A header in each sector that claims all of the log: each sector is still looked at once. */
Test(vhdx_log, that_claims_much_takes_no_longer, .timeout = 5)
{
	static uint8_t bytes[16 << 20];
	struct vhdx_log_header header = {
		.nr_bytes = le32_of(sizeof(bytes)),
		.sequence = le64_of(1),
		.nr_descriptors = le32_of(4094),
		.log_id = { 'l' },
	};
	const struct vhdx_log log = {
		.bytes = bytes,
		.nr_bytes = sizeof(bytes),
		.log_id = header.log_id,
		.file_bytes = FILE_BYTES,
	};

	memcpy(header.signature, VHDX_LOG_SIGNATURE, sizeof(header.signature));
	for (size_t at = 0; at < sizeof(bytes); at += SECTOR)
		memcpy(bytes + at, &header, sizeof(header));
	cr_expect_eq(vhdx_log_replay(&log, &overlay, &problem), -EINVAL);
	cr_expect_eq(problem.reason, VHDX_LOG_BAD_DESCRIPTOR);
}
