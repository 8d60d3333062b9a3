/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/base_identity.h"
#include "image/names.h"

enum { DISK = 4 << 20 };

static const uint8_t uuid[SEAL_UUID_BYTES] = "image of a test";

/* The folder of one test: d/b.vhd is the base, i/x.seal the image. */
static char folder[64];
static char base_path[128];
static char image_path[128];
static struct problem problem;
static struct base_identity identity;
static bool touched;

static void put(const char *path, uint64_t offset_bytes, const void *bytes, size_t nr_bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, bytes, nr_bytes, (off_t)offset_bytes), (ssize_t)nr_bytes);
	close(fd);
}

static void put_footer(const char *path, uint64_t disk_bytes, uint8_t id, uint32_t created_s)
{
	struct vhd_fixed fixed = {
		.disk_bytes = disk_bytes,
		.created_s = created_s,
		.creator_app = { 'w', 'i', 'n', ' ' },
		.uuid = { id },
	};
	struct vhd_footer footer;

	vhd_footer_build(&fixed, &footer);
	put(path, disk_bytes, &footer, sizeof(footer));
}

static struct base open_base(const char *path, enum base_format format)
{
	struct base base;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(base_open(&base, fd, path, format, &base_opener_direct, &problem), 0, "%s",
		     problem.text);
	return base;
}

static void take(const char *path, enum base_format format, bool full)
{
	struct base base = open_base(path, format);

	cr_assert_eq(base_identity_take(&base, path, image_path, full, &identity, &problem), 0,
		     "%s", problem.text);
	base_close(&base);
}

static int check(const char *path, enum base_format format)
{
	struct base base = open_base(path, format);
	int rc;

	problem.text[0] = 0;
	rc = base_identity_check(&identity, &base, path, &touched, &problem);
	base_close(&base);
	return rc;
}

static void expect_changed(enum base_format format, const char *why)
{
	char text[sizeof(problem.text)];

	snprintf(text, sizeof(text), "base %s: has changed: %s", base_path, why);
	cr_expect_eq(check(base_path, format), -ESTALE);
	cr_expect_str_eq(problem.text, text);
}

static void make_folder(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void begin(void)
{
	char made[] = "/tmp/sealblk-unit-XXXXXX";
	char *resolved;

	cr_assert_not_null(mkdtemp(made));
	resolved = realpath(made, NULL);
	cr_assert_not_null(resolved);
	snprintf(folder, sizeof(folder), "%s", resolved);
	free(resolved);
	make_folder("d");
	make_folder("i");
	snprintf(base_path, sizeof(base_path), "%s/d/b.vhd", folder);
	snprintf(image_path, sizeof(image_path), "%s/i/x.seal", folder);
	put(base_path, 4096, "content", 7);
	put_footer(base_path, DISK, 1, 1000);
	put(image_path, 0, "", 1);
}

static void end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(base_identity, .init = begin, .fini = end);

Test(base_identity, describes_a_vhd)
{
	take(base_path, BASE_AUTO, false);
	cr_expect_str_eq(identity.path, base_path);
	cr_expect_str_eq(identity.path_absolute, base_path);
	cr_expect_str_eq(identity.path_relative, "../d/b.vhd");
	cr_expect_eq(identity.format, BASE_VHD);
	cr_expect_eq(identity.file_bytes, DISK + 512);
	cr_expect_eq(identity.disk_bytes, DISK);
	cr_expect_eq(identity.digest_kind, BASE_DIGEST_FULL);
	cr_expect_eq(identity.vhd_uuid[0], 1);
	cr_expect_eq(identity.vhd_timestamp_s, 1000);
	cr_expect_arr_eq(identity.footer, VHD_COOKIE, VHD_COOKIE_BYTES);
}

Test(base_identity, of_an_untouched_base_holds)
{
	take(base_path, BASE_AUTO, false);
	touched = true;
	cr_expect_eq(check(base_path, BASE_VHD), 0);
	cr_expect_not(touched);
}

Test(base_identity, of_a_copy_holds)
{
	static const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	char copy_path[128];
	char command[512];

	take(base_path, BASE_AUTO, false);
	snprintf(copy_path, sizeof(copy_path), "%s/copy.vhd", folder);
	snprintf(command, sizeof(command), "cp '%s' '%s'", base_path, copy_path);
	cr_assert_eq(system(command), 0);
	cr_assert_eq(utimensat(AT_FDCWD, copy_path, old, 0), 0);
	cr_expect_eq(check(copy_path, BASE_VHD), 0);
	cr_expect_not(touched, "another inode: the time says nothing");
}

Test(base_identity, of_a_base_with_a_new_time_holds_with_a_warning)
{
	static const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1, .tv_nsec = 5 } };

	take(base_path, BASE_AUTO, false);
	cr_assert_eq(utimensat(AT_FDCWD, base_path, old, 0), 0);
	cr_expect_eq(check(base_path, BASE_VHD), 0);
	cr_expect(touched);
	take(base_path, BASE_AUTO, false);
	cr_expect_eq(identity.mtime_ns, 1000000005);
}

Test(base_identity, refuses_another_size)
{
	take(base_path, BASE_AUTO, false);
	put_footer(base_path, DISK + 4096, 1, 1000);
	expect_changed(BASE_VHD, "size is 4198912, was 4194816 bytes");
}

Test(base_identity, refuses_another_disk_size_in_a_file_of_the_same_size)
{
	struct vhd_fixed fixed = { .disk_bytes = DISK - 512, .created_s = 1000 };
	struct vhd_footer footer;

	take(base_path, BASE_AUTO, false);
	vhd_footer_build(&fixed, &footer);
	put(base_path, DISK, &footer, sizeof(footer));
	expect_changed(BASE_VHD, "disk size is 4193792, was 4194304 bytes");
}

Test(base_identity, refuses_another_format)
{
	take(base_path, BASE_AUTO, false);
	expect_changed(BASE_RAW, "format is raw, was vhd");
}

Test(base_identity, refuses_another_unique_id)
{
	take(base_path, BASE_AUTO, false);
	put_footer(base_path, DISK, 2, 1000);
	expect_changed(BASE_VHD, "VHD unique id differs");
}

Test(base_identity, refuses_another_timestamp)
{
	take(base_path, BASE_AUTO, false);
	put_footer(base_path, DISK, 1, 1001);
	expect_changed(BASE_VHD, "VHD timestamp is 1001, was 1000");
}

Test(base_identity, refuses_another_footer)
{
	struct vhd_footer footer;

	take(base_path, BASE_AUTO, false);
	memcpy(&footer, identity.footer, sizeof(footer));
	footer.saved_state = 1;
	footer.checksum = be32_of(vhd_footer_checksum(&footer));
	put(base_path, DISK, &footer, sizeof(footer));
	expect_changed(BASE_VHD, "VHD footer differs");
}

Test(base_identity, refuses_other_content)
{
	take(base_path, BASE_AUTO, false);
	put(base_path, 3000000, "x", 1);
	expect_changed(BASE_VHD, "content differs: digest of the whole file");
}

/* A sparse raw base just too large to be digested whole. */
static void begin_large(void)
{
	begin();
	cr_assert_eq(unlink(base_path), 0);
	put(base_path, 300 * MIB + 12344, "x", 1);
	put(base_path, 17, "head", 4);
}

TestSuite(base_sampled, .init = begin_large, .fini = end);

/* The formula of base_digest.h once more, over memory. */
static void digest_by_formula(const uint8_t *file, uint64_t file_bytes, uint8_t ret_digest[32])
{
	uint64_t blocks = (file_bytes - 2 * 1048576) / 4096;
	size_t input_bytes = 8 + 2 * 1048576 + 2048 * 4096;
	uint8_t *input = malloc(input_bytes);
	uint8_t *at = input;

	cr_assert_not_null(input);
	for (int i = 0; i < 8; i++)
		*at++ = (uint8_t)(file_bytes >> (8 * i));
	at = mempcpy(at, file, 1048576);
	for (uint64_t i = 0; i < 2048; i++)
		at = mempcpy(at, file + 1048576 + 4096 * (i * blocks / 2048), 4096);
	at = mempcpy(at, file + file_bytes - 1048576, 1048576);
	cr_assert_eq((size_t)(at - input), input_bytes);
	SHA256(input, input_bytes, ret_digest);
	free(input);
}

Test(base_sampled, digest_is_the_formula)
{
	uint64_t file_bytes = 300 * MIB + 12345;
	uint8_t *file = calloc(1, file_bytes);
	uint64_t in_a_sample = base_digest_sample_offset(file_bytes, 1000) + 4095;
	uint8_t digest[32];

	cr_assert_not_null(file);
	put(base_path, in_a_sample, "s", 1);
	file[in_a_sample] = 's';
	memcpy(file + 17, "head", 4);
	file[file_bytes - 1] = 'x';
	take(base_path, BASE_RAW, false);
	digest_by_formula(file, file_bytes, digest);
	cr_expect_eq(identity.digest_kind, BASE_DIGEST_SAMPLED);
	cr_expect_arr_eq(identity.digest, digest, 32);
	free(file);
}

Test(base_sampled, offsets_spread_from_end_to_end_without_touching)
{
	static const uint64_t sizes[] = { 256 * MIB + 1, 300 * MIB, 30 * GIB, 64 * TIB };

	for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
		uint64_t last = base_digest_sample_offset(sizes[k], BASE_SAMPLES - 1);

		cr_expect_eq(base_digest_sample_offset(sizes[k], 0), MIB);
		for (unsigned int i = 1; i < BASE_SAMPLES; i++)
			cr_assert_geq(base_digest_sample_offset(sizes[k], i),
				      base_digest_sample_offset(sizes[k], i - 1) + 4096);
		cr_expect_leq(last + BASE_SAMPLE_BYTES, sizes[k] - MIB);
		cr_expect_geq(last + sizes[k] / 1024, sizes[k] - MIB);
	}
}

Test(base_sampled, sees_changes_at_the_ends_and_in_samples)
{
	static const char why[] = "content differs: digest of sampled sectors";
	uint64_t file_bytes = 300 * MIB + 12345;
	uint64_t places[] = { 0, MIB - 1, base_digest_sample_offset(file_bytes, 7),
			      file_bytes - MIB, file_bytes - 1 };

	take(base_path, BASE_RAW, false);
	cr_assert_eq(check(base_path, BASE_RAW), 0);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		put(base_path, places[i], "!", 1);
		expect_changed(BASE_RAW, why);
		put(base_path, places[i], i == 4 ? "x" : "", 1);
	}
	cr_expect_eq(check(base_path, BASE_RAW), 0);
	cr_expect(touched);
}

Test(base_sampled, full_digest_sees_what_lies_between)
{
	uint64_t between = base_digest_sample_offset(300 * MIB + 12345, 7) + 4096;

	take(base_path, BASE_RAW, false);
	put(base_path, between, "!", 1);
	cr_expect_eq(check(base_path, BASE_RAW), 0, "the samples do not see it");
	take(base_path, BASE_RAW, true);
	cr_expect_eq(identity.digest_kind, BASE_DIGEST_FULL);
	put(base_path, between, "?", 1);
	expect_changed(BASE_RAW, "content differs: digest of the whole file");
}

static void expect_found(const char *image, const char *expected)
{
	char found[PATH_BYTES_MAX];
	char *resolved;

	cr_assert_eq(base_identity_find(&identity, image, found), 0);
	resolved = realpath(found, NULL);
	cr_assert_not_null(resolved);
	cr_expect_str_eq(resolved, expected);
	free(resolved);
}

Test(base_identity, finds_the_base_where_it_was)
{
	take(base_path, BASE_AUTO, false);
	expect_found(image_path, base_path);
}

Test(base_identity, finds_the_base_beside_an_image_that_moved_with_it)
{
	char moved[128];
	char image[128];
	char expected[128];

	take(base_path, BASE_AUTO, false);
	snprintf(moved, sizeof(moved), "%s-m", folder);
	cr_assert_eq(rename(folder, moved), 0);
	memcpy(folder, moved, sizeof(folder));
	snprintf(image, sizeof(image), "%s/i/x.seal", folder);
	snprintf(expected, sizeof(expected), "%s/d/b.vhd", folder);
	expect_found(image, expected);

	/* Through a link, the folder that counts is the one the image lies in. */
	snprintf(moved, sizeof(moved), "%s/link", folder);
	cr_assert_eq(symlink(image, moved), 0);
	expect_found(moved, expected);
}

Test(base_identity, tells_when_the_base_is_gone)
{
	char found[PATH_BYTES_MAX] = "untouched";

	take(base_path, BASE_AUTO, false);
	cr_assert_eq(unlink(base_path), 0);
	cr_expect_eq(base_identity_find(&identity, image_path, found), -ENOENT);
	cr_expect_str_eq(found, "untouched");
}

Test(base_identity, records_relative_paths_up_and_down)
{
	static const struct {
		const char *image;
		const char *relative;
	} rows[] = {
		{ "%s/d/x.seal", "b.vhd" },
		{ "%s/x.seal", "d/b.vhd" },
		{ "%s/dd/x.seal", "../d/b.vhd" },
		{ "%s/d/e/../e/x.seal", "../b.vhd" },
	};

	make_folder("dd");
	make_folder("d/e");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		/* The only % is the folder. */
		const char *rest = rows[i].image + 2;

		snprintf(image_path, sizeof(image_path), "%s%s", folder, rest);
		take(base_path, BASE_AUTO, false);
		cr_expect_str_eq(identity.path_relative, rows[i].relative);
	}
}

Test(base_identity, cannot_be_taken_for_an_image_without_a_folder)
{
	struct base base = open_base(base_path, BASE_AUTO);

	cr_expect_eq(base_identity_take(&base, base_path, "/nowhere/at/all/x.seal", false,
					&identity, &problem),
		     -ENOENT);
	base_close(&base);
}

static struct seal_names names;

static void encode(void)
{
	names_init(&names, uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
}

Test(base_identity, survives_its_records)
{
	static struct base_identity read;

	take(base_path, BASE_AUTO, false);
	identity.mtime_ns = -5;
	encode();
	cr_assert_eq(base_identity_decode(&names, &read), 0);
	cr_expect_str_eq(read.path, identity.path);
	cr_expect_str_eq(read.path_absolute, identity.path_absolute);
	cr_expect_str_eq(read.path_relative, identity.path_relative);
	cr_expect_eq(read.format, BASE_VHD);
	cr_expect_eq(read.file_bytes, identity.file_bytes);
	cr_expect_eq(read.disk_bytes, identity.disk_bytes);
	cr_expect_eq(read.digest_kind, identity.digest_kind);
	cr_expect_arr_eq(read.digest, identity.digest, 32);
	cr_expect_eq(read.mtime_ns, -5);
	cr_expect_eq(read.inode, identity.inode);
	cr_expect_arr_eq(read.vhd_uuid, identity.vhd_uuid, 16);
	cr_expect_eq(read.vhd_timestamp_s, 1000);
	cr_expect_arr_eq(read.footer, identity.footer, 512);
}

Test(base_identity, of_a_raw_base_records_nothing_of_vhd)
{
	const uint8_t *value;
	size_t bytes;

	take(base_path, BASE_RAW, false);
	encode();
	cr_expect_eq(names_find(&names, "base.footer", &value, &bytes), -ENOENT);
	cr_assert_eq(base_identity_decode(&names, &identity), 0);
	cr_expect_eq(identity.format, BASE_RAW);
}

Test(base_identity, is_absent_where_nothing_is_recorded)
{
	names_init(&names, uuid);
	cr_expect_eq(base_identity_decode(&names, &identity), -ENOENT);
}

/* The records of a good identity with @name's value replaced, or left out. */
static int decode_with(const char *name, const void *value, size_t value_bytes)
{
	static struct base_identity read;
	static struct seal_names changed;
	struct names_record record;
	struct cursor next;

	names_init(&changed, uuid);
	for (next = names_first(&names); names_next(&next, &record);) {
		char copied[64] = "";

		memcpy(copied, record.name, record.name_bytes);
		if (strcmp(copied, name) != 0)
			cr_assert_eq(names_append(&changed, copied, record.value,
						  record.value_bytes),
				     0);
		else if (value)
			cr_assert_eq(names_append(&changed, copied, value, value_bytes), 0);
	}
	return base_identity_decode(&changed, &read);
}

Test(base_identity, with_a_missing_or_unsound_record_is_refused)
{
	struct names_record record;
	struct cursor next;
	unsigned int nr = 0;

	take(base_path, BASE_AUTO, false);
	encode();
	cr_assert_eq(decode_with("none", NULL, 0), 0);
	for (next = names_first(&names); names_next(&next, &record); nr++) {
		char name[64] = "";
		int without = strncmp(record.name, "base.format", 11) == 0 ? -ENOENT : -EBADMSG;

		memcpy(name, record.name, record.name_bytes);
		cr_expect_eq(decode_with(name, NULL, 0), without, "%s", name);
		cr_expect_eq(decode_with(name, "", 0), -EBADMSG, "%s", name);
		cr_expect_eq(decode_with(name, "a\0b", 3), -EBADMSG, "%s", name);
	}
	cr_expect_eq(nr, 13);
}

Test(base_identity, with_a_number_of_another_width_is_refused)
{
	take(base_path, BASE_AUTO, false);
	encode();
	cr_expect_eq(decode_with("base.inode", "1234567", 8), 0);
	cr_expect_eq(decode_with("base.inode", "12345678", 9), -EBADMSG);
	cr_expect_eq(decode_with("base.inode", "123456", 7), -EBADMSG);
	cr_expect_eq(decode_with("base.vhd_timestamp", "1234", 5), -EBADMSG);
	cr_expect_eq(decode_with("base.vhd_timestamp", "12", 3), -EBADMSG);
}

Test(base_identity, with_a_path_too_long_is_refused)
{
	static char path[PATH_BYTES_MAX];

	take(base_path, BASE_AUTO, false);
	encode();
	memset(path, 'p', sizeof(path));
	cr_expect_eq(decode_with("base.path", path, sizeof(path)), -EBADMSG);
	cr_expect_eq(decode_with("base.path", path, sizeof(path) - 1), 0);
}

Test(base_identity, that_samples_a_small_file_is_refused)
{
	take(base_path, BASE_AUTO, false);
	encode();
	cr_expect_eq(decode_with("base.digest_kind", "sha256-sampled", 14), -EBADMSG);
	cr_expect_eq(decode_with("base.format", "auto", 4), -EBADMSG);
}
