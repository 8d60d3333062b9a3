/* SPDX-License-Identifier: MIT */
/* sealblk map: see `sealblk map --help`. Extents are printed as they come. */
#include "map.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "print.h"
#include "sealblk/units.h"
#include "verbs.h"

/* ---- printing ---- */

struct map_printer {
	bool json;
	uint64_t nr_printed;
};

static void print_head(const struct map_printer *printer, uint64_t disk_bytes)
{
	if (printer->json)
		printf("{\"disk_bytes\": %" PRIu64 ", \"extents\": [", disk_bytes);
	else
		printf("%12s %12s %15s %15s  %s\n", "first_sector", "nr_sectors", "offset_bytes",
		       "length_bytes", "state");
}

static int print_extent(void *arg, uint64_t first_sector, uint64_t nr_sectors,
			enum report_state state)
{
	struct map_printer *printer = arg;
	uint64_t offset_bytes = sectors_to_bytes(first_sector);
	uint64_t length_bytes = sectors_to_bytes(nr_sectors);

	if (printer->json)
		printf("%s\n{\"offset_bytes\": %" PRIu64 ", \"length_bytes\": %" PRIu64
		       ", \"state\": \"%s\"}",
		       printer->nr_printed ? "," : "", offset_bytes, length_bytes,
		       report_state_name(state));
	else
		printf("%12" PRIu64 " %12" PRIu64 " %15" PRIu64 " %15" PRIu64 "  %s\n",
		       first_sector, nr_sectors, offset_bytes, length_bytes,
		       report_state_name(state));
	printer->nr_printed++;
	return 0;
}

/* ---- getting them ---- */

/* One line of the daemon's answer. Returns 1 after the last one, 0 to go on, or an errno. */
static int walk_line(struct reach *reach, report_extent_fn extent, void *arg,
		     struct problem *problem)
{
	enum report_state state;
	json_int_t offset, length;
	const char *name;
	json_t *line;
	int r = reach_answer(reach, &line, problem);

	if (r < 0)
		return r;
	if (json_is_true(json_object_get(line, "end"))) {
		json_decref(line);
		return 1;
	}
	offset = json_integer_value(json_object_get(line, "offset_bytes"));
	length = json_integer_value(json_object_get(line, "length_bytes"));
	name = json_string_value(json_object_get(line, "state"));
	if (offset < 0 || length <= 0 || !name || report_state_of(name, &state) < 0) {
		problem_set(problem, "image", reach->path, "its daemon's map makes no sense");
		r = -EIO;
	} else {
		r = extent(arg, (uint64_t)offset / SECTOR_BYTES, (uint64_t)length / SECTOR_BYTES,
			   state);
	}
	json_decref(line);
	return r;
}

static int walk_daemon(struct reach *reach, report_extent_fn extent, void *arg,
		       struct problem *problem)
{
	int r = reach_ask(reach, "map", problem);

	while (r == 0)
		r = walk_line(reach, extent, arg, problem);
	return r == 1 ? 0 : r;
}

int map_walk(struct reach *reach, report_extent_fn extent, void *arg, struct problem *problem)
{
	int r;

	if (reach->daemon)
		return walk_daemon(reach, extent, arg, problem);
	r = report_walk(&reach->report, extent, arg);
	if (r < 0)
		problem_set(problem, "image", reach->path, "its map cannot be read: %s",
			    strerror(-r));
	return r;
}

void map_warn(const struct reach *reach)
{
	const struct image *image = reach->report.image;

	if (image && image->super.open_state == SEAL_UNCLEAN)
		fputs("sealblk: " UNCLEAN_TEXT "\n", stderr);
	if (image && !reach->base_found) {
		fputs("sealblk: ", stderr);
		print_text(stderr, reach->base_problem.text);
		fputs("; its holes are shown as base\n", stderr);
	}
}

/* ---- the verb ---- */

int verb_map_check(const struct tool_options *options, struct problem *problem)
{
	if (!options->svg || !options->json)
		return 0;
	tool_usage_problem(problem, options->verb, "either --json or --svg");
	return -EINVAL;
}

static int print_map(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	struct map_printer printer = { .json = options->json };
	int r = reach_open(&reach, options->image, problem);

	if (r < 0)
		return r;
	map_warn(&reach);
	print_head(&printer, reach.disk_bytes);
	r = map_walk(&reach, print_extent, &printer, problem);
	if (r == 0 && options->json)
		printf("\n]}\n");
	return r;
}

int verb_map(const struct tool_options *options, struct problem *problem)
{
	return options->svg ? map_draw(options, problem) : print_map(options, problem);
}
