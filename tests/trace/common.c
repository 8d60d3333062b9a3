/* SPDX-License-Identifier: MIT */
/* What the load and the replayer share: see common.h. */
#include "trace/common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void give_up(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("trace: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

void *must_alloc(size_t nr_bytes)
{
	void *memory = calloc(1, nr_bytes ? nr_bytes : 1);

	if (!memory)
		give_up("no memory");
	return memory;
}

uint8_t *must_map(const char *path, size_t *ret_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *memory;

	if (fd < 0 || fstat(fd, &st) < 0)
		give_up("%s: %s", path, strerror(errno));
	if (st.st_size == 0)
		give_up("%s: is empty", path);
	*ret_bytes = (size_t)st.st_size;
	memory = mmap(NULL, *ret_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (memory == MAP_FAILED)
		give_up("%s: %s", path, strerror(errno));
	close(fd);
	return memory;
}

uint64_t must_number(const char *text)
{
	char *end;
	uint64_t number = strtoull(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end)
		give_up("%s: not a number", text);
	return number;
}

/* ---- what sectors hold ---- */

static uint64_t word_of(uint64_t seed, uint64_t name, uint64_t i)
{
	return i == 0 ? name : mix64(seed + name + i * GOLDEN);
}

void content_fill(uint64_t seed, uint64_t sector, uint32_t number, uint8_t ret_bytes[SECTOR_BYTES])
{
	const uint64_t name = (uint64_t)number << 32 | sector;

	for (uint64_t i = 0; i < SECTOR_BYTES / sizeof(name); i++) {
		const uint64_t word = word_of(seed, name, i);

		memcpy(ret_bytes + i * sizeof(word), &word, sizeof(word));
	}
}

uint32_t content_number(uint64_t seed, uint64_t sector, const uint8_t bytes[SECTOR_BYTES])
{
	uint64_t name;

	memcpy(&name, bytes, sizeof(name));
	if ((uint32_t)name != sector || name >> 32 == 0)
		return 0;
	for (uint64_t i = 1; i < SECTOR_BYTES / sizeof(name); i++) {
		uint64_t word;

		memcpy(&word, bytes + i * sizeof(word), sizeof(word));
		if (word != word_of(seed, name, i))
			return 0;
	}
	return (uint32_t)(name >> 32);
}

/* ---- the log ---- */

static const char *const kind_names[LOG_KINDS] = { "write", "zero", "trim", "flush" };

void log_write(const struct load_log *log, const char *path)
{
	FILE *file = fopen(path, "w");

	if (!file)
		give_up("%s: %s", path, strerror(errno));
	fprintf(file, "seed %" PRIu64 "\nbegin %" PRIu64 "\nwindows %u\n", log->seed, log->begin_ns,
		log->nr_windows);
	for (unsigned int i = 0; i < log->nr_windows; i++)
		fprintf(file, "%" PRIu64 " %" PRIu32 "\n", log->windows[i].first_sector,
			log->windows[i].nr_sectors);
	fprintf(file, "requests %" PRIu32 "\n", log->nr_requests);
	for (uint32_t i = 0; i < log->nr_requests; i++) {
		const struct log_request *r = &log->requests[i];

		fprintf(file,
			"%" PRIu32 " %s %" PRIu64 " %" PRIu32 " %s %" PRIu64 " %" PRIu64 " %s\n",
			r->number, kind_names[r->kind], r->sector, r->nr_sectors,
			r->fua ? "fua" : "-", r->issued_ns, r->answered_ns,
			r->failed ? "failed" : "-");
	}
	if (fclose(file) != 0)
		give_up("%s: %s", path, strerror(errno));
}

static uint8_t kind_of(const char *path, const char *name)
{
	for (int kind = 0; kind < LOG_KINDS; kind++)
		if (strcmp(kind_names[kind], name) == 0)
			return (uint8_t)kind;
	give_up("%s: what is %s?", path, name);
}

static void read_request(struct log_request *r, FILE *file, const char *path)
{
	char kind[16], fua[16], failed[16];

	if (fscanf(file,
		   "%" SCNu32 " %15s %" SCNu64 " %" SCNu32 " %15s %" SCNu64 " %" SCNu64 " %15s\n",
		   &r->number, kind, &r->sector, &r->nr_sectors, fua, &r->issued_ns,
		   &r->answered_ns, failed) != 8)
		give_up("%s: request %" PRIu32 " is unreadable", path, r->number);
	r->kind = kind_of(path, kind);
	r->fua = strcmp(fua, "fua") == 0;
	r->failed = strcmp(failed, "failed") == 0;
}

void log_read(struct load_log *ret_log, const char *path)
{
	FILE *file = fopen(path, "r");
	struct load_log log = { 0 };

	if (!file)
		give_up("%s: %s", path, strerror(errno));
	if (fscanf(file, "seed %" SCNu64 "\nbegin %" SCNu64 "\nwindows %u\n", &log.seed,
		   &log.begin_ns, &log.nr_windows) != 3 ||
	    log.nr_windows > WINDOWS_MAX)
		give_up("%s: is not a log", path);
	for (unsigned int i = 0; i < log.nr_windows; i++)
		if (fscanf(file, "%" SCNu64 " %" SCNu32 "\n", &log.windows[i].first_sector,
			   &log.windows[i].nr_sectors) != 2)
			give_up("%s: window %u is unreadable", path, i);
	if (fscanf(file, "requests %" SCNu32 "\n", &log.nr_requests) != 1)
		give_up("%s: is not a log", path);
	log.requests = must_alloc(log.nr_requests * sizeof(*log.requests));
	for (uint32_t i = 0; i < log.nr_requests; i++)
		read_request(&log.requests[i], file, path);
	fclose(file);
	*ret_log = log;
}
