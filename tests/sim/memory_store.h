/* SPDX-License-Identifier: MIT */
/*
 * Dirty files in the test's memory: what the tmpfs of a simulated host holds.
 * A kill of the daemon leaves them (memory_store_copy), a power cut does not.
 */
#ifndef TESTS_SIM_MEMORY_STORE_H
#define TESTS_SIM_MEMORY_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "image/dirty_store.h"

enum { MEMORY_FILES_MAX = 8 };

struct memory_file {
	bool exists;	       /* under its name */
	unsigned int nr_users; /* who have it mapped; it outlives its name */
	uint8_t nonce[SEAL_NONCE_BYTES];
	uint8_t *memory; /* DIRTY_FILE_BYTES */
};

struct memory_store {
	struct dirty_store store; /* first: what the image sees */
	struct memory_file files[MEMORY_FILES_MAX];
};

void memory_store_init(struct memory_store *memory);
void memory_store_done(struct memory_store *memory);

/* Let *@to, whose insides are lost, hold what exists in *@from now. */
void memory_store_copy(struct memory_store *to, const struct memory_store *from);

/* A number that tells contents apart. */
uint64_t memory_store_digest(const struct memory_store *memory);

#endif
