/* SPDX-License-Identifier: MIT */
/* A fast digest for telling states apart that nobody chose to look alike. */
#ifndef TESTS_SIM_DIGEST_H
#define TESTS_SIM_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Add @nr_bytes, a multiple of 32, to @digest. */
uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t nr_bytes);
uint64_t digest_number(uint64_t digest, uint64_t number);
uint64_t digest_text(uint64_t digest, const char *text);

/* A set of digests. Zeroed is empty. Grows; ends the process when memory runs out. */
struct digest_set {
	uint64_t *places; /* 0: free */
	uint64_t nr_places;
	uint64_t nr;
};

/* Returns false when @digest was in there already. */
bool digest_set_add(struct digest_set *set, uint64_t digest);
void digest_set_done(struct digest_set *set);

#endif
