/* SPDX-License-Identifier: MIT */
/* What an image records of a chain of differencing VHDs, and when it is refused. */
#include <errno.h>
#include <openssl/sha.h>

#include "chain.h"
#include "image/base_identity.h"
#include "image/names.h"

static const uint8_t uuid[SEAL_UUID_BYTES] = "image of a test";
static struct base_identity identity;
static struct seal_names names;

/* Three layers, "3.vhd" on top. */
static void begin_chain(void)
{
	struct vhd_layer_recipe bottom = recipe_of(1);
	struct vhd_layer_recipe middle = child_recipe(2, "1.vhd");
	struct vhd_layer_recipe top = child_recipe(3, "2.vhd");

	begin();
	make("1.vhd", &bottom, 0, 300, '1');
	make("2.vhd", &middle, 13, 200, '2');
	make("3.vhd", &top, 100, 31, '3');
}

TestSuite(base_chain_identity, .init = begin_chain, .fini = end);

static void open_top(void)
{
	int fd = open(path_of("3.vhd"), O_RDONLY | O_CLOEXEC);

	cr_assert_eq(base_open(&base, fd, path_of("3.vhd"), BASE_VHD, &base_opener_direct,
			       &problem),
		     0, "%s", problem.text);
}

static void take(void)
{
	open_top();
	cr_assert_eq(base_identity_take(&base, path_of("3.vhd"), path_of("x.seal"), false,
					&identity, &problem),
		     0, "%s", problem.text);
	base_close(&base);
}

static int check(void)
{
	bool touched;
	int r;

	open_top();
	problem.text[0] = 0;
	r = base_identity_check(&identity, &base, path_of("3.vhd"), &touched, &problem);
	base_close(&base);
	return r;
}

static void expect_changed(const char *file, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "base %s/%s: has changed: %s", folder, file, why);
	cr_expect_eq(check(), -ESTALE);
	cr_expect_str_eq(problem.text, text);
}

static void patch(const char *file, off_t offset, const void *bytes, size_t nr_bytes)
{
	int fd = open(path_of(file), O_WRONLY | O_CLOEXEC);

	cr_assert_eq(pwrite(fd, bytes, nr_bytes, offset), (ssize_t)nr_bytes);
	close(fd);
}

Test(base_chain_identity, has_each_parents_id_timestamp_size_and_digest)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	static uint8_t bytes[1 << 20];
	ssize_t nr;
	int fd;

	take();
	cr_assert_eq(identity.nr_parents, 2);
	cr_expect_eq(identity.parents[0].vhd_uuid[0], 2);
	cr_expect_eq(identity.parents[1].vhd_uuid[0], 1);
	cr_expect_eq(identity.parents[0].vhd_timestamp_s, 1002);
	cr_expect_eq(identity.parents[1].vhd_timestamp_s, 1001);
	fd = open(path_of("1.vhd"), O_RDONLY | O_CLOEXEC);
	nr = read(fd, bytes, sizeof(bytes));
	close(fd);
	cr_expect_eq(identity.parents[1].file_bytes, (uint64_t)nr);
	cr_expect_eq(identity.parents[1].digest_kind, BASE_DIGEST_FULL);
	SHA256(bytes, (size_t)nr, digest);
	cr_expect_arr_eq(identity.parents[1].digest, digest, sizeof(digest));
	cr_expect_eq(check(), 0, "%s", problem.text);
}

Test(base_chain_identity, goes_through_its_records)
{
	static struct base_identity decoded;
	const uint8_t *value;
	size_t value_bytes;

	take();
	names_init(&names, uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(names_find(&names, "base.parent.2.vhd_uuid", &value, &value_bytes), 0);
	cr_expect_eq(value_bytes, VHD_UUID_BYTES);
	cr_expect_eq(value[0], 1);
	cr_expect_eq(names_find(&names, "base.parent.3.vhd_uuid", &value, &value_bytes), -ENOENT);
	cr_assert_eq(base_identity_decode(&names, &decoded), 0);
	cr_expect_eq(memcmp(&decoded, &identity, sizeof(identity)), 0);
}

Test(base_chain_identity, of_the_longest_chain_fits_the_area)
{
	static struct base_identity decoded;

	take();
	identity.nr_parents = BASE_LAYERS_MAX - 1;
	memset(identity.path, 'p', sizeof(identity.path) - 1);
	memset(identity.path_absolute, 'a', sizeof(identity.path_absolute) - 1);
	memset(identity.path_relative, 'r', sizeof(identity.path_relative) - 1);
	names_init(&names, uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(base_identity_decode(&names, &decoded), 0);
	cr_expect_eq(decoded.nr_parents, BASE_LAYERS_MAX - 1);
}

Test(base_chain_identity, with_unsound_records_is_refused)
{
	static struct base_identity decoded;

	take();
	identity.parents[1].digest_kind = BASE_DIGEST_SAMPLED; /* of so small a file */
	names_init(&names, uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_expect_eq(base_identity_decode(&names, &decoded), -EBADMSG);

	take();
	identity.nr_parents = 1;
	names_init(&names, uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(names_append(&names, "base.parent.2.vhd_uuid", uuid, sizeof(uuid)), 0);
	cr_expect_eq(base_identity_decode(&names, &decoded), -EBADMSG, "the rest is missing");
}

Test(base_chain_identity, names_the_parent_whose_content_has_changed)
{
	take();
	patch("1.vhd", 100 << 10, "!", 1);
	expect_changed("1.vhd", "content differs: digest of the whole file");
}

Test(base_chain_identity, names_the_parent_whose_size_has_changed)
{
	struct vhd_layer_recipe middle = child_recipe(2, "1.vhd");

	take();
	make("2.vhd", &middle, 0, 500, '2');
	cr_expect_eq(check(), -ESTALE);
	cr_expect_not_null(strstr(problem.text, "/2.vhd: has changed: size is "));
}

Test(base_chain_identity, notices_a_chain_made_shorter)
{
	struct vhd_layer_recipe middle = recipe_of(2);

	take();
	make("2.vhd", &middle, 13, 200, '2');
	expect_changed("3.vhd", "it has 1 parents, had 2");
}

Test(base_chain_identity, accepts_a_chain_that_was_moved)
{
	take();
	cr_assert_eq(mkdir(path_of("sub"), 0700), 0);
	for (int i = 1; i <= 3; i++) {
		char from[16], to[16];

		snprintf(from, sizeof(from), "%d.vhd", i);
		snprintf(to, sizeof(to), "sub/%d.vhd", i);
		cr_assert_eq(rename(path_of(from), path_of(to)), 0);
	}
	cr_assert_eq(symlink("sub/3.vhd", path_of("3.vhd")), 0);
	cr_expect_eq(check(), 0, "%s", problem.text);
}
