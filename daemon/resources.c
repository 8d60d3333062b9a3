/* SPDX-License-Identifier: MIT */
/* Limits of the process: see resources.h. */
#include "resources.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "sealblk/limits.h"
#include "sealblk/units.h"

enum {
	FILES_FIXED = 16,	  /* standard ones, helper, trace, what is open for a moment */
	FILES_PER_WORKER = 4,	  /* ring or epoll, eventfds */
	FILES_PER_EXPORT = 5,	  /* image, perhaps twice, lock of its UUID, control socket, base */
	LOCKED_PER_EXPORT = 4096, /* its keys: a page */
	LOCKED_FIXED = 256 << 10, /* secrets, and keys while they are unwrapped */
};

/* A limit of the system, and what one does about it. */
struct resource {
	int number;
	const char *what;
	const char *remedy;
};

static const struct resource files = {
	.number = RLIMIT_NOFILE,
	.what = "open files",
	.remedy = "LimitNOFILE= of the unit, or ulimit -Hn",
};

static const struct resource locked = {
	.number = RLIMIT_MEMLOCK,
	.what = "bytes of locked memory",
	.remedy = "LimitMEMLOCK= of the unit, or ulimit -Hl",
};

/* Returns the limit in force. */
static uint64_t raise_to(const struct resource *resource, uint64_t wanted)
{
	struct rlimit limit;

	if (getrlimit(resource->number, &limit) < 0)
		return wanted; /* there is no such limit */
	if (limit.rlim_cur >= wanted)
		return limit.rlim_cur;
	limit.rlim_cur = min_u64(wanted, limit.rlim_max);
	(void)setrlimit(resource->number, &limit);
	return limit.rlim_cur;
}

/* @needed: less is worth a line. @wanted: more does no harm. */
static void reserve(const struct resource *resource, uint64_t needed, uint64_t wanted,
		    unsigned int nr_exports)
{
	const uint64_t got = raise_to(resource, wanted);

	if (got >= needed)
		return;
	log_line(LOG_LEVEL_WARNING,
		 "%u exports and %d connections may need %llu %s, and the hard limit is %llu: "
		 "raise it (%s)",
		 nr_exports, WORKER_CONNS_MAX, (unsigned long long)needed, resource->what,
		 (unsigned long long)got, resource->remedy);
}

void resources_reserve(unsigned int nr_exports, unsigned int nr_workers, bool keeps_arenas)
{
	const uint64_t fixed = FILES_FIXED + FILES_PER_WORKER * (uint64_t)(nr_workers + 1) +
			       LISTENERS_MAX + DM_DEVICES_MAX + 2 * CONTROL_CLIENTS_MAX;
	const uint64_t needed = fixed + FILES_PER_EXPORT * (uint64_t)nr_exports + WORKER_CONNS_MAX;
	/* Chains of differencing VHDs, and all places of all workers. */
	const uint64_t wanted = needed + BASE_LAYERS_MAX * (uint64_t)nr_exports +
				WORKER_CONNS_MAX * (uint64_t)nr_workers;
	const uint64_t keys = LOCKED_FIXED + LOCKED_PER_EXPORT * (uint64_t)nr_exports;
	const uint64_t arenas = keeps_arenas ? (uint64_t)WORKER_BUFFER_BYTES * nr_workers : 0;

	reserve(&files, needed, wanted, nr_exports);
	/* Root has no limit here. */
	if (geteuid() != 0)
		reserve(&locked, keys, keys + arenas, nr_exports);
}
