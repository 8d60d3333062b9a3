/* SPDX-License-Identifier: MIT */
/* What the verbs share: giving up, whole reads and writes, numbers by seed. */
#ifndef TESTS_POWERCUT_UTIL_H
#define TESTS_POWERCUT_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Says why on stderr, with errno's text if @error is not 0, and exits with 1. */
_Noreturn void die(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *must_alloc(size_t count, size_t bytes); /* zeroed */
int must_open(const char *path, int flags);
void must_read(int fd, void *to, size_t bytes, uint64_t offset);
void must_write(int fd, const void *from, size_t bytes, uint64_t offset);
uint64_t must_number(const char *text);

/* A sequence that a seed gives; never 0 inside. */
struct dice {
	uint64_t state;
};

struct dice dice_of(uint64_t seed);
uint64_t dice_below(struct dice *dice, uint64_t limit);

#endif
