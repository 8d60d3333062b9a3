/* SPDX-License-Identifier: MIT */
/* The digest of the content of a base's file: see base_digest.h. */
#include "image/base_digest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "crypt/wrap.h"
#include "image/layer.h"
#include "sealblk/byteorder.h"

enum { CHUNK_BYTES = 1 << 20 };

/* A digest under way and the buffer it reads through. */
struct reading {
	const struct store *store;
	struct digest_ctx digest;
	uint8_t *chunk; /* CHUNK_BYTES */
};

static void reading_done(struct reading *r)
{
	digest_done(&r->digest);
	free(r->chunk);
}

static int add_range(struct reading *r, uint64_t offset_bytes, uint64_t nr_bytes)
{
	uint64_t part_bytes;
	int rc;

	for (; nr_bytes > 0; offset_bytes += part_bytes, nr_bytes -= part_bytes) {
		part_bytes = min_u64(nr_bytes, CHUNK_BYTES);
		rc = layer_read(r->store, offset_bytes, r->chunk, part_bytes);
		if (rc < 0)
			return rc;
		rc = digest_add(&r->digest, r->chunk, part_bytes);
		if (rc < 0)
			return rc;
	}
	return 0;
}

uint64_t base_digest_sample_offset(uint64_t file_bytes, unsigned int i)
{
	uint64_t blocks = (file_bytes - 2 * BASE_SAMPLED_END_BYTES) / BASE_SAMPLE_BYTES;

	/* Cannot overflow: files are below 2^63 bytes, so this is below 2^62. */
	return BASE_SAMPLED_END_BYTES + BASE_SAMPLE_BYTES * (i * blocks / BASE_SAMPLES);
}

/* So that a cold or distant file is asked for all samples at once. A hint: the result says nothing. */
static void ask_ahead(const struct store *store)
{
	for (unsigned int i = 0; i < BASE_SAMPLES; i++)
		(void)posix_fadvise(store->fd, (off_t)base_digest_sample_offset(store->bytes, i),
				    BASE_SAMPLE_BYTES, POSIX_FADV_WILLNEED);
}

static int add_samples(struct reading *r)
{
	uint64_t file_bytes = r->store->bytes;
	le64 length = le64_of(file_bytes);
	int rc;

	assert(file_bytes > BASE_SAMPLED_ABOVE_BYTES);
	ask_ahead(r->store);
	rc = digest_add(&r->digest, &length, sizeof(length));
	if (rc < 0)
		return rc;
	rc = add_range(r, 0, BASE_SAMPLED_END_BYTES);
	for (unsigned int i = 0; rc == 0 && i < BASE_SAMPLES; i++)
		rc = add_range(r, base_digest_sample_offset(file_bytes, i), BASE_SAMPLE_BYTES);
	if (rc < 0)
		return rc;
	return add_range(r, file_bytes - BASE_SAMPLED_END_BYTES, BASE_SAMPLED_END_BYTES);
}

int base_digest_compute(const struct store *store, enum base_digest_kind kind,
			uint8_t ret_digest[BASE_DIGEST_BYTES])
{
	CLEANUP(reading_done) struct reading r = { .store = store };
	int rc;

	r.chunk = malloc(CHUNK_BYTES);
	if (!r.chunk)
		return -ENOMEM;
	rc = digest_init(&r.digest);
	if (rc < 0)
		return rc;
	rc = kind == BASE_DIGEST_SAMPLED ? add_samples(&r) : add_range(&r, 0, store->bytes);
	if (rc < 0)
		return rc;
	return digest_end(&r.digest, ret_digest);
}
