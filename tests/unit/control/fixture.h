/* SPDX-License-Identifier: MIT */
/* An image for tests of reports: each test runs in a process of its own, in a folder of its own. */
#ifndef TESTS_CONTROL_FIXTURE_H
#define TESTS_CONTROL_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/report.h"
#include "image/create.h"
#include "keys/key_mem.h"
#include "map/entries.h"

/* Blocks of the map of the disk below; the last one is cut by the disk's end. */
enum { FIXTURE_BLOCKS = 4, FIXTURE_SECTORS = 3 * SEAL_BLOCK_SECTORS + 1000 };

struct fixture {
	char folder[32];
	struct ring *ring;
	struct image *image;
};

static inline void fixture_create(struct fixture *fixture, const struct base_identity *base)
{
	struct key_secret *secret = key_mem_new(sizeof(*secret));
	struct image_recipe recipe = {
		.disk_bytes = sectors_to_bytes(FIXTURE_SECTORS),
		.encryption = true,
		.now_s = 1700000000,
		.secret = secret,
		.base = base,
	};
	struct problem problem;

	cr_assert_not_null(secret);
	secret->kind = KEY_SOURCE_FILE;
	secret->nr_bytes = KEY_FILE_BYTES_MIN;
	cr_assert_eq(image_create(fixture->ring, "image", &recipe, &problem), 0, "%s",
		     problem.text);
	key_mem_free(secret);
}

static inline void fixture_load(struct fixture *fixture)
{
	int fd = open("image", O_RDWR | O_CLOEXEC);
	struct problem problem;
	struct store store;

	cr_assert_eq(store_file_init(&store, fd, STORE_LOCK_NONE, 0), 0);
	cr_assert_eq(image_load(&store, "image", fixture->ring, false, &fixture->image, &problem),
		     0, "%s", problem.text);
}

static inline void fixture_enter(struct fixture *fixture)
{
	*fixture = (struct fixture){ .folder = "/tmp/sealblk-ctl-XXXXXX" };
	cr_assert_not_null(mkdtemp(fixture->folder));
	cr_assert_eq(chdir(fixture->folder), 0);
	cr_assert_eq(ring_sync_new(&fixture->ring), 0);
}

/* An image without a base. */
static inline void fixture_set_up(struct fixture *fixture)
{
	fixture_enter(fixture);
	fixture_create(fixture, NULL);
	fixture_load(fixture);
}

static inline void fixture_done(struct fixture *fixture)
{
	image_free(fixture->image);
	ring_free(fixture->ring);
	unlink("image");
	unlink("base");
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(rmdir(fixture->folder), 0, "something was left behind");
}

/* Put entries of block @index into memory, behind the back of the map's counts: @value in sectors [first, end), zero around them. */
static inline void fixture_set_block(struct fixture *fixture, uint64_t index, uint32_t first,
				     uint32_t end, uint8_t value)
{
	uint8_t body[SEAL_BLOCK_BODY_BYTES];

	memset(body, SEAL_ENTRY_ZERO * 0x11, sizeof(body));
	for (uint32_t i = first; i < end; i++)
		body[i / 2] =
			(uint8_t)((body[i / 2] & (i % 2 ? 0x0f : 0xf0)) | value << (i % 2 * 4));
	map_install(&fixture->image->disk.map, index, body, 0);
	fixture->image->disk.map.counts.known = false;
}

/* Claim that block @index is on disk, where nothing is. */
static inline void fixture_damage_block(struct fixture *fixture, uint64_t index)
{
	atomic_fetch_or(&fixture->image->disk.map.written[index / 64], (uint64_t)1 << (index % 64));
	fixture->image->disk.map.counts.known = false;
}

#endif
