/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/base_own.h"
#include "image/names.h"

enum { DISK = 1 << 20 };

static const uint8_t image_uuid[SEAL_UUID_BYTES] = "image of a test";

/* The folder of one test, and the base in it. */
static char folder[64];
static char path[128];
static char image_path[128];
static struct problem problem;
static struct base base;
static struct base_identity identity;
static struct seal_names names;

static void put(uint64_t offset_bytes, const void *bytes, size_t nr_bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, bytes, nr_bytes, (off_t)offset_bytes), (ssize_t)nr_bytes);
	close(fd);
}

static void begin(void)
{
	struct vhd_fixed fixed = { .disk_bytes = DISK, .creator_app = "win ", .uuid = { 1 } };
	struct vhd_footer footer;

	strcpy(folder, "/tmp/sealblk-unit-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/b.vhd", folder);
	snprintf(image_path, sizeof(image_path), "%s/x.seal", folder);
	vhd_footer_build(&fixed, &footer);
	put(4096, "content", 7);
	put(DISK, &footer, sizeof(footer));
}

static void end(void)
{
	char command[128];

	base_close(&base);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(base_own, .init = begin, .fini = end);

static void open_base(int mode, enum base_format format)
{
	int fd = open(path, mode | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	base_close(&base);
	cr_assert_eq(base_open(&base, fd, path, format, &base_opener_direct, &problem), 0, "%s",
		     problem.text);
}

static int take(struct base_identity *ret_identity)
{
	return base_identity_take(&base, path, image_path, false, ret_identity, &problem);
}

static int check(const struct base_identity *against)
{
	bool touched;

	return base_identity_check(against, &base, path, &touched, &problem);
}

/* A random UUID. */
static const uint8_t the_owner[SEAL_UUID_BYTES] = { 1, 2, 3, 4, 5, 6, 0x47, 8, 0x89 };

/* Open for writing, described, said to be owned; not yet adopted. */
static void prepare(void)
{
	open_base(O_RDWR, BASE_AUTO);
	cr_assert_eq(take(&identity), 0, "%s", problem.text);
	cr_assert_eq(base_own_prepare(&identity, &base, the_owner, &problem), 0, "%s",
		     problem.text);
}

Test(base_own, adopts_by_a_footer_with_the_owners_id)
{
	uint8_t owner[SEAL_UUID_BYTES];

	prepare();
	base_identity_owner(&identity, owner);
	cr_expect_arr_eq(owner, the_owner, sizeof(owner));
	cr_expect_not(base_is_adopted(&identity, &base));
	cr_assert_eq(base_adopt(&identity, &base, &problem), 0, "%s", problem.text);
	open_base(O_RDWR, BASE_VHD);
	cr_expect(base_is_adopted(&identity, &base));
	cr_expect_arr_eq(base.layers[0]->vhd.uuid, owner, sizeof(owner));
	cr_expect_eq(check(&identity), 0, "%s", problem.text);
	cr_expect_eq(base_adopt(&identity, &base, &problem), 0, "once more changes nothing");
}

Test(base_own, is_not_held_against_its_content_once_adopted)
{
	prepare();
	put(4096, "CONTENT", 7);
	open_base(O_RDWR, BASE_VHD);
	cr_expect_eq(check(&identity), -ESTALE, "changed before it was adopted");
	cr_assert_eq(base_adopt(&identity, &base, &problem), 0);
	open_base(O_RDWR, BASE_VHD);
	cr_expect_eq(check(&identity), 0, "%s", problem.text);
	put(DISK + 70, "another id", 10);
	open_base(O_RDONLY, BASE_RAW);
	cr_expect_eq(check(&identity), -ESTALE, "another format");
}

Test(base_own, leaves_no_other_image_a_base)
{
	static struct base_identity shared, refused;

	open_base(O_RDONLY, BASE_AUTO);
	cr_assert_eq(take(&shared), 0, "%s", problem.text);
	prepare();
	cr_assert_eq(base_adopt(&identity, &base, &problem), 0);
	open_base(O_RDONLY, BASE_VHD);
	cr_expect_eq(check(&shared), -ESTALE);
	cr_expect(strstr(problem.text, "belongs to another image now"), "%s", problem.text);
	cr_expect_eq(take(&refused), -EINVAL);
	open_base(O_RDONLY, BASE_RAW);
	cr_expect_eq(take(&refused), -EINVAL, "nor as a raw one");
	cr_expect(strstr(problem.text, "belongs to an image already"), "%s", problem.text);
}

Test(base_own, of_what_has_no_id_is_refused)
{
	open_base(O_RDWR, BASE_RAW);
	cr_assert_eq(take(&identity), 0, "%s", problem.text);
	cr_expect_eq(base_own_prepare(&identity, &base, the_owner, &problem), -EINVAL);
	cr_expect_not(identity.owned);
}

Test(base_own, wants_the_file_alone)
{
	struct base second = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	open_base(O_RDWR, BASE_AUTO);
	cr_expect_eq(base_open(&second, fd, path, BASE_VHD, &base_opener_direct, &problem), -EBUSY);
}

Test(base_own, survives_its_record)
{
	static struct base_identity read;

	prepare();
	names_init(&names, image_uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(base_identity_decode(&names, &read), 0);
	cr_expect(read.owned);
	cr_expect_arr_eq(read.owned_footer, identity.owned_footer, VHD_FOOTER_BYTES);
	identity.owned = false;
	names_init(&names, image_uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(base_identity_decode(&names, &read), 0);
	cr_expect_not(read.owned);
}

Test(base_own, with_an_unsound_record_is_refused)
{
	static struct base_identity read;

	prepare();
	for (size_t at = 0; at < VHD_FOOTER_BYTES; at += 8) {
		identity.owned_footer[at] ^= 1;
		names_init(&names, image_uuid);
		cr_assert_eq(base_identity_encode(&identity, &names), 0);
		cr_expect_eq(base_identity_decode(&names, &read), -EBADMSG, "byte %zu", at);
		identity.owned_footer[at] ^= 1;
	}
	identity.format = BASE_RAW;
	names_init(&names, image_uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(names_append(&names, "base.owned_footer", identity.owned_footer,
				  VHD_FOOTER_BYTES),
		     0);
	cr_expect_eq(base_identity_decode(&names, &read), -EBADMSG, "of a raw base");
}
