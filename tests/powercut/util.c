/* SPDX-License-Identifier: MIT */
#include "powercut/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void die(int error, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "powercut: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "%s%s\n", error ? ": " : "", error ? strerror(error) : "");
	exit(1);
}

void *must_alloc(size_t count, size_t bytes)
{
	void *memory = calloc(count ? count : 1, bytes);

	if (!memory)
		die(ENOMEM, "%zu bytes", count * bytes);
	return memory;
}

int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		die(errno, "%s", path);
	return fd;
}

void must_read(int fd, void *to, size_t bytes, uint64_t offset)
{
	ssize_t n = pread(fd, to, bytes, (off_t)offset);

	if (n < 0 || (size_t)n != bytes)
		die(n < 0 ? errno : 0, "cannot read %zu bytes at %llu", bytes,
		    (unsigned long long)offset);
}

void must_write(int fd, const void *from, size_t bytes, uint64_t offset)
{
	ssize_t n = pwrite(fd, from, bytes, (off_t)offset);

	if (n < 0 || (size_t)n != bytes)
		die(n < 0 ? errno : 0, "cannot write %zu bytes at %llu", bytes,
		    (unsigned long long)offset);
}

uint64_t must_number(const char *text)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text ? text : "", &end, 10);
	if (errno != 0 || end == text || *end)
		die(0, "not a number: %s", text ? text : "(missing)");
	return number;
}

struct dice dice_of(uint64_t seed)
{
	/* Near seeds are to give sequences that differ from the start. */
	struct dice dice = { (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) };

	for (int i = 0; i < 4; i++)
		dice_below(&dice, 1);
	return dice;
}

uint64_t dice_below(struct dice *dice, uint64_t limit)
{
	if (dice->state == 0)
		dice->state = 1;
	dice->state ^= dice->state << 13;
	dice->state ^= dice->state >> 7;
	dice->state ^= dice->state << 17;
	return (dice->state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % limit;
}
