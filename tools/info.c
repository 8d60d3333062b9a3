/* SPDX-License-Identifier: MIT */
/*
 * sealblk info: see `sealblk info --help`. The text is made from the same JSON
 * object that --json prints, whether it comes from the file or from a daemon.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "control/size_text.h"
#include "print.h"
#include "reach.h"
#include "sealblk/units.h"
#include "verbs.h"

/* ---- reading the object; what is missing reads as 0, "" or false ---- */

static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static bool is_set(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* ---- text ---- */

/* "label            " */
static void print_label(const char *label)
{
	printf("%-17s", label);
}

static void print_row(const char *label, const char *text)
{
	print_label(label);
	print_text(stdout, text);
	putchar('\n');
}

static void print_size(const char *label, uint64_t bytes)
{
	char size[SIZE_TEXT_BYTES];

	print_label(label);
	printf("%s (%" PRIu64 " bytes)\n", size_text(bytes, size), bytes);
}

static void print_state(const json_t *info)
{
	const char *state = text_of(info, "state");

	print_row("state", state);
	if (strcmp(state, "unclean") == 0)
		print_row("", UNCLEAN_TEXT);
	if (is_set(info, "revoked"))
		print_row("", "its keys are revoked: all I/O is refused until key restore");
	if (is_set(info, "writes_failed"))
		print_row("", "a write or flush has failed: it takes no more writes until it is "
			      "served again");
	if (number_of(info, "damaged_blocks") > 0) {
		print_label("");
		printf("%" PRIu64 " damaged map blocks: their sectors answer an I/O error\n",
		       number_of(info, "damaged_blocks"));
	}
	if (number_of(info, "damaged_copies") > 0) {
		print_label("");
		printf("%" PRIu64 " damaged copies of superblock, keyring or names, each with a "
		       "good twin\n",
		       number_of(info, "damaged_copies"));
	}
}

static void print_encryption(const json_t *info)
{
	const json_t *encryption = json_object_get(info, "encryption");
	const char *time = text_of(encryption, "last_enabled_time");

	print_label("encryption");
	printf("%s, new writes go to plane %" PRIu64 "\n",
	       is_set(encryption, "enabled") ? "on" : "off",
	       number_of(encryption, "current_plane"));
	print_row("last enabled", *time ? time : "never");
	print_row("server encrypted", is_set(info, "server_encrypted") ? "yes" : "no");
}

/* Only what is under way. */
static void print_rewrite(const json_t *info)
{
	static const char *const jobs[] = { "encrypt", "rekey" };
	const json_t *rewrite = json_object_get(info, "rewrite");
	const uint64_t disk = number_of(rewrite, "disk_bytes");

	for (unsigned int i = 0; i < ARRAY_LEN(jobs); i++) {
		const char *state = text_of(rewrite, jobs[i]);

		if (!*state || strcmp(state, "none") == 0)
			continue;
		print_label(jobs[i]);
		printf("%s", strcmp(state, "stopped") == 0 ? "goes on when it is served" : state);
		if (strcmp(state, "running") == 0 && disk > 0)
			printf(", %.1f%% of the disk looked at",
			       (double)number_of(rewrite, "at_bytes") * 100 / (double)disk);
		putchar('\n');
	}
}

static void print_sectors(const json_t *info)
{
	const json_t *sectors = json_object_get(info, "sectors");

	for (unsigned int i = 0; i < REPORT_STATES; i++) {
		const char *name = report_state_name((enum report_state)i);
		uint64_t nr = number_of(sectors, name);
		char size[SIZE_TEXT_BYTES];

		if (i == REPORT_DAMAGED && nr == 0)
			continue;
		print_label(i == 0 ? "sectors" : "");
		printf("%-8s %14" PRIu64 "  %s\n", name, nr, size_text(sectors_to_bytes(nr), size));
	}
}

static void print_base(const json_t *info)
{
	const json_t *base = json_object_get(info, "base");
	char size[SIZE_TEXT_BYTES];

	if (!json_is_object(base)) {
		print_row("base", "none");
		return;
	}
	print_row("base", text_of(base, "path_absolute"));
	print_label("");
	printf("%s, disk of %s (%" PRIu64 " bytes), %s\n", text_of(base, "format"),
	       size_text(number_of(base, "disk_bytes"), size), number_of(base, "disk_bytes"),
	       is_set(base, "owned") ? "owned by this image" : text_of(base, "digest_kind"));
	if (*text_of(base, "vhd_uuid")) {
		print_label("");
		printf("VHD unique id %s\n", text_of(base, "vhd_uuid"));
	}
	if (*text_of(base, "vhdx_disk_id")) {
		print_label("");
		printf("VHDX disk id %s, data write id %s\n", text_of(base, "vhdx_disk_id"),
		       text_of(base, "vhdx_data_write_id"));
	}
	if (!is_set(base, "found"))
		print_row("", text_of(base, "problem"));
	if (!is_set(base, "holes_known"))
		print_row("", "its holes are counted as base");
}

static void print_planes(const json_t *info)
{
	size_t i;
	const json_t *plane;

	json_array_foreach(json_object_get(info, "planes"), i, plane)
	{
		print_label(i == 0 ? "planes" : "");
		printf("%" PRIu64 ": %s", number_of(plane, "map_value"), text_of(plane, "kind"));
		if (json_is_integer(json_object_get(plane, "key_id")))
			printf(", key %" PRIu64, number_of(plane, "key_id"));
		putchar('\n');
	}
}

static void print_key_slots(const json_t *info)
{
	size_t i;
	const json_t *slot;

	if (json_array_size(json_object_get(info, "key_slots")) == 0)
		print_row("key slots", "none: nothing opens this image ever again");
	json_array_foreach(json_object_get(info, "key_slots"), i, slot)
	{
		print_label(i == 0 ? "key slots" : "");
		printf("%" PRIu64 ": %s, key %" PRIu64 ", added %s\n", number_of(slot, "slot"),
		       text_of(slot, "kind"), number_of(slot, "key_id"),
		       text_of(slot, "created_time"));
	}
}

static void print_info(const json_t *info)
{
	print_row("image", text_of(info, "path"));
	print_row("uuid", text_of(info, "uuid"));
	print_row("created", text_of(info, "created_time"));
	print_size("disk", number_of(info, "disk_bytes"));
	print_size("file", number_of(info, "file_bytes"));
	print_size("allocated", number_of(info, "allocated_bytes"));
	print_state(info);
	print_encryption(info);
	print_rewrite(info);
	print_sectors(info);
	print_base(info);
	print_planes(info);
	print_key_slots(info);
}

/* ---- the verb ---- */

int verb_info(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	json_t *info = NULL;
	int r = reach_open(&reach, options->image, problem);

	if (r == 0)
		r = reach_info(&reach, &info, problem);
	if (r < 0)
		return r;
	if (options->json) {
		r = print_json_object(info);
		if (r < 0)
			problem_set(problem, "image", options->image, "no memory to report on it");
	} else {
		print_info(info);
	}
	json_decref(info);
	return r;
}
