/* SPDX-License-Identifier: MIT */
/* What sectors may read as: see expect.h. */
#include "trace/expect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t zeros[SECTOR_BYTES];

void expect_init(struct expect *expect, const char *base)
{
	*expect = (struct expect){ 0 };
	if (base)
		expect->base = must_map(base, &expect->base_bytes);
}

static void copy_windows(struct expect *expect, const struct load_log *log)
{
	expect->seed = log->seed;
	expect->nr_windows = log->nr_windows;
	memcpy(expect->windows, log->windows, sizeof(expect->windows));
	for (unsigned int i = 0; i < log->nr_windows; i++)
		expect->nr_cells += log->windows[i].nr_sectors;
	expect->cells = must_alloc(expect->nr_cells * sizeof(*expect->cells));
}

static bool is_of_same_run(const struct expect *expect, const struct load_log *log)
{
	bool same = log->seed == expect->seed && log->nr_windows == expect->nr_windows;

	for (unsigned int i = 0; i < expect->nr_windows && same; i++)
		same = log->windows[i].first_sector == expect->windows[i].first_sector &&
		       log->windows[i].nr_sectors == expect->windows[i].nr_sectors;
	return same;
}

void expect_add(struct expect *expect, const char *path)
{
	struct load_log log;

	log_read(&log, path);
	if (expect->nr_sessions == 0)
		copy_windows(expect, &log);
	else if (!is_of_same_run(expect, &log))
		give_up("%s: of another run", path);
	/* What an earlier daemon left unanswered happened before this one served, or never. */
	for (uint32_t i = 0; i < expect->nr_versions; i++)
		if (expect->versions[i].over_ns == 0)
			expect->versions[i].over_ns = log.begin_ns;
	expect->versions = realloc(expect->versions, (expect->nr_versions + log.nr_requests) *
							     sizeof(*expect->versions));
	if (!expect->versions)
		give_up("no memory");
	for (uint32_t i = 0; i < log.nr_requests; i++)
		expect->versions[expect->nr_versions++] = (struct version){
			.request = log.requests[i],
			.session = expect->nr_sessions,
			.over_ns = log.requests[i].answered_ns,
			.certain_ns = UINT64_MAX,
		};
	free(log.requests);
	expect->nr_sessions++;
}

static bool was_done(const struct log_request *request)
{
	return request->answered_ns != 0 && !request->failed;
}

static void find_certain_ns(const struct expect *expect, struct version *version)
{
	const struct log_request *request = &version->request;

	if (!was_done(request) || request->kind == LOG_FLUSH)
		return;
	if (request->fua)
		version->certain_ns = request->answered_ns;
	for (uint32_t i = 0; i < expect->nr_versions; i++) {
		const struct log_request *flush = &expect->versions[i].request;

		if (flush->kind == LOG_FLUSH && was_done(flush) &&
		    flush->issued_ns > request->answered_ns)
			version->certain_ns = min_u64(version->certain_ns, flush->answered_ns);
	}
}

/* Calls @visit for each cell that version number @index changes. */
static void for_cells(const struct expect *expect, uint32_t index,
		      void (*visit)(struct cell *cell, uint32_t index,
				    const struct version *version))
{
	const struct log_request *request = &expect->versions[index].request;
	uint32_t first_cell = 0;

	for (unsigned int w = 0; w < expect->nr_windows; w++) {
		const struct window *window = &expect->windows[w];

		for (uint32_t i = 0; i < window->nr_sectors; i++)
			if (window->first_sector + i >= request->sector &&
			    window->first_sector + i < request->sector + request->nr_sectors)
				visit(&expect->cells[first_cell + i], index,
				      &expect->versions[index]);
		first_cell += window->nr_sectors;
	}
}

static void add_to_cell(struct cell *cell, uint32_t index, const struct version *version)
{
	(void)version;
	if ((cell->nr & (cell->nr - 1)) == 0) {
		const uint32_t room = cell->nr ? 2 * cell->nr : 1;

		cell->versions = realloc(cell->versions, room * sizeof(*cell->versions));
		if (!cell->versions)
			give_up("no memory");
	}
	cell->versions[cell->nr++] = index;
}

static const struct version *sorted; /* qsort() has no argument for it */

static int compare_certain(const void *a, const void *b)
{
	const uint64_t ns_a = sorted[*(const uint32_t *)a].certain_ns;
	const uint64_t ns_b = sorted[*(const uint32_t *)b].certain_ns;

	return ns_a < ns_b ? -1 : ns_a > ns_b;
}

void expect_settle(struct expect *expect)
{
	expect->by_certain = must_alloc(expect->nr_versions * sizeof(*expect->by_certain));
	for (uint32_t i = 0; i < expect->nr_versions; i++) {
		find_certain_ns(expect, &expect->versions[i]);
		for_cells(expect, i, add_to_cell);
		if (expect->versions[i].certain_ns != UINT64_MAX)
			expect->by_certain[expect->nr_certain++] = i;
	}
	sorted = expect->versions;
	qsort(expect->by_certain, expect->nr_certain, sizeof(*expect->by_certain), compare_certain);
}

static void make_certain(struct cell *cell, uint32_t index, const struct version *version)
{
	(void)index;
	if (version->request.issued_ns > cell->certain_issued_ns)
		cell->certain_issued_ns = version->request.issued_ns;
}

void expect_advance(struct expect *expect, uint64_t time_ns)
{
	while (expect->at < expect->nr_certain &&
	       expect->versions[expect->by_certain[expect->at]].certain_ns < time_ns) {
		for_cells(expect, expect->by_certain[expect->at++], make_certain);
		expect->epoch++;
	}
}

void expect_closed(struct expect *expect, unsigned int session)
{
	for (uint32_t i = 0; i < expect->nr_versions; i++)
		if (expect->versions[i].session <= session &&
		    was_done(&expect->versions[i].request))
			for_cells(expect, i, make_certain);
	expect->epoch++;
}

/* ---- judging -------------------------------------------------------------- */

static bool is_allowed(const struct cell *cell, const struct version *version, uint64_t time_ns)
{
	return version->request.issued_ns <= time_ns &&
	       (version->over_ns == 0 || version->over_ns >= cell->certain_issued_ns);
}

static bool reads_as_zero(const struct version *version)
{
	return version->request.kind == LOG_ZERO || version->request.kind == LOG_TRIM;
}

static const uint8_t *base_of(const struct expect *expect, uint64_t sector)
{
	return sectors_to_bytes(sector + 1) <= expect->base_bytes
		       ? expect->base + sectors_to_bytes(sector)
		       : zeros;
}

static void describe(const struct expect *expect, const struct cell *cell, uint64_t sector,
		     uint64_t time_ns, const uint8_t bytes[SECTOR_BYTES],
		     char ret_text[EXPECT_TEXT_BYTES])
{
	const uint32_t number = content_number(expect->seed, sector, bytes);
	const char *what = "neither old nor new";
	size_t used;

	if (number != 0)
		what = "the data of request";
	else if (memcmp(bytes, base_of(expect, sector), SECTOR_BYTES) == 0)
		what = "never written";
	else if (memcmp(bytes, zeros, SECTOR_BYTES) == 0)
		what = "zeros";
	used = (size_t)snprintf(ret_text, EXPECT_TEXT_BYTES, "sector %" PRIu64 " reads as %s",
				sector, what);
	if (number != 0)
		used += (size_t)snprintf(ret_text + used, EXPECT_TEXT_BYTES - used, " %" PRIu32,
					 number);
	used += (size_t)snprintf(ret_text + used, EXPECT_TEXT_BYTES - used, "; allowed:%s",
				 cell->certain_issued_ns == 0 ? " never written" : "");
	for (uint32_t i = 0; i < cell->nr && used < EXPECT_TEXT_BYTES; i++) {
		const struct version *version = &expect->versions[cell->versions[i]];

		if (is_allowed(cell, version, time_ns))
			used += (size_t)snprintf(ret_text + used, EXPECT_TEXT_BYTES - used,
						 " %" PRIu32 "%s", version->request.number,
						 reads_as_zero(version) ? " (zeros)" : "");
	}
}

bool expect_allows(const struct expect *expect, uint32_t number, uint64_t sector, uint64_t time_ns,
		   const uint8_t bytes[SECTOR_BYTES], char ret_text[EXPECT_TEXT_BYTES])
{
	const struct cell *cell = &expect->cells[number];
	const bool is_zero = memcmp(bytes, zeros, SECTOR_BYTES) == 0;
	const uint32_t found = is_zero ? 0 : content_number(expect->seed, sector, bytes);

	if (cell->certain_issued_ns == 0 &&
	    memcmp(bytes, base_of(expect, sector), SECTOR_BYTES) == 0)
		return true;
	for (uint32_t i = 0; i < cell->nr; i++) {
		const struct version *version = &expect->versions[cell->versions[i]];
		const bool is_it = is_zero ? reads_as_zero(version)
					   : found != 0 && version->request.number == found &&
						     version->request.kind == LOG_WRITE;

		if (is_it && is_allowed(cell, version, time_ns))
			return true;
	}
	describe(expect, cell, sector, time_ns, bytes, ret_text);
	return false;
}
