/* SPDX-License-Identifier: MIT */
/* Dirty files in memory: see memory_store.h. */
#include "sim/memory_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/digest.h"
#include "sim/sparse.h"
#include "sim/state.h"

static size_t area_offset(int area)
{
	return sizeof(struct dirty_header) +
	       (size_t)area * DIRTY_AREA_RECORDS * sizeof(struct dirty_record);
}

/* How much of an area was ever written: records are, from its beginning on. */
static size_t area_bytes(const uint8_t *memory, int area)
{
	static const struct dirty_record none;
	const uint8_t *records = memory + area_offset(area);
	size_t nr = 0;

	while (nr < DIRTY_AREA_RECORDS &&
	       memcmp(records + nr * sizeof(none), &none, sizeof(none)) != 0)
		nr++;
	return nr * sizeof(none);
}

/* ---- memory --------------------------------------------------------------- */

/*
 * Files are made and given up by the million, and hardly anything of one is ever
 * written: what was is cleared, and the memory kept for the next.
 */
struct spare {
	struct spare *next;
};
static struct spare *spares;

static uint8_t *memory_new(void)
{
	struct spare *spare = spares;

	if (!spare)
		return sparse_alloc(DIRTY_FILE_BYTES);
	spares = spare->next;
	spare->next = NULL;
	return (uint8_t *)spare;
}

static void memory_free(uint8_t *memory)
{
	struct spare *spare = (struct spare *)(void *)memory;

	if (!memory)
		return;
	for (int area = 0; area < 2; area++)
		memset(memory + area_offset(area), 0, area_bytes(memory, area));
	memset(memory, 0, sizeof(struct dirty_header));
	spare->next = spares;
	spares = spare;
}

/* ---- files ---------------------------------------------------------------- */

static struct memory_store *memory_of(struct dirty_store *store)
{
	return CONTAINER_OF(store, struct memory_store, store);
}

static struct memory_file *find(struct memory_store *memory, const uint8_t *nonce)
{
	for (int i = 0; i < MEMORY_FILES_MAX; i++)
		if (memory->files[i].exists &&
		    memcmp(memory->files[i].nonce, nonce, SEAL_NONCE_BYTES) == 0)
			return &memory->files[i];
	return NULL;
}

static void free_if_unused(struct memory_file *file)
{
	if (file->exists || file->nr_users > 0)
		return;
	memory_free(file->memory);
	file->memory = NULL;
}

static int store_create(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	struct memory_store *memory = memory_of(store);

	(void)uuid;
	if (find(memory, nonce))
		return -EEXIST;
	for (int i = 0; i < MEMORY_FILES_MAX; i++) {
		struct memory_file *file = &memory->files[i];

		if (file->memory)
			continue;
		file->exists = true;
		file->nr_users = 1;
		memcpy(file->nonce, nonce, SEAL_NONCE_BYTES);
		file->memory = memory_new();
		*ret_memory = file->memory;
		return 0;
	}
	return -ENOSPC;
}

static int store_find(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		      const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	struct memory_file *file = find(memory_of(store), nonce);

	(void)uuid;
	if (!file)
		return -ENOENT;
	file->nr_users++;
	*ret_memory = file->memory;
	return 0;
}

static void store_release(struct dirty_store *store, void *memory)
{
	struct memory_file *files = memory_of(store)->files;

	for (int i = 0; memory && i < MEMORY_FILES_MAX; i++) {
		if (files[i].memory != memory)
			continue;
		files[i].nr_users--;
		free_if_unused(&files[i]);
	}
}

static void store_keep_only(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			    uint64_t inode, const uint8_t *nonce)
{
	struct memory_store *memory = memory_of(store);
	const struct memory_file *kept = nonce ? find(memory, nonce) : NULL;

	(void)uuid;
	(void)inode;
	for (int i = 0; i < MEMORY_FILES_MAX; i++) {
		struct memory_file *file = &memory->files[i];

		if (!file->exists || file == kept)
			continue;
		file->exists = false;
		free_if_unused(file);
	}
}

static const struct dirty_store_ops memory_ops = {
	.create = store_create,
	.find = store_find,
	.release = store_release,
	.keep_only = store_keep_only,
};

void memory_store_init(struct memory_store *memory)
{
	*memory = (struct memory_store){ .store = { .ops = &memory_ops } };
}

void memory_store_done(struct memory_store *memory)
{
	for (int i = 0; i < MEMORY_FILES_MAX; i++)
		memory_free(memory->files[i].memory);
	memory_store_init(memory);
}

void memory_store_copy(struct memory_store *to, const struct memory_store *from)
{
	memory_store_init(to);
	for (int i = 0; i < MEMORY_FILES_MAX; i++) {
		const struct memory_file *file = &from->files[i];

		if (!file->exists)
			continue;
		to->files[i] = *file;
		to->files[i].nr_users = 0;
		to->files[i].memory = memory_new();
		memcpy(to->files[i].memory, file->memory, sizeof(struct dirty_header));
		for (int area = 0; area < 2; area++)
			memcpy(to->files[i].memory + area_offset(area),
			       file->memory + area_offset(area), area_bytes(file->memory, area));
	}
}

uint64_t memory_store_digest(const struct memory_store *memory)
{
	uint64_t digest = 0;

	/* Which place a file has means nothing: the sum does not depend on it. */
	for (int i = 0; i < MEMORY_FILES_MAX; i++) {
		const struct memory_file *file = &memory->files[i];
		uint64_t one = 1;

		if (!file->exists)
			continue;
		one = digest_bytes(one, file->memory, sizeof(struct dirty_header));
		for (int area = 0; area < 2; area++)
			one = digest_bytes(one, file->memory + area_offset(area),
					   area_bytes(file->memory, area));
		digest += one;
	}
	return digest;
}
