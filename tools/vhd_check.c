/* SPDX-License-Identifier: MIT */
/* sealblk vhd check: see `sealblk vhd check --help`. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "image/path.h"
#include "image/uuid.h"
#include "print.h"
#include "store/store.h"
#include "verbs.h"
#include "vhd.h"
#include "vhd/mend.h"

enum { MEND_TEXT_BYTES = PATH_BYTES_MAX + 128 };

struct check {
	const char *path;
	struct store store; /* locked */
	struct vhd_patient patient;
	struct vhd_fixed fresh;
	bool kept[VHD_AZURE_RULES];
	bool can_mend; /* by writing @mend: then @mended rules would be kept */
	struct vhd_mend mend;
	bool mended[VHD_AZURE_RULES];
	bool has_mended; /* that has been done */
	const char *was; /* what was wrong, if so */
};

static const char *const rule_names[VHD_AZURE_RULES] = {
	[VHD_AZURE_FIXED] = "fixed",   [VHD_AZURE_FOOTER] = "footer",
	[VHD_AZURE_SIZE] = "size",     [VHD_AZURE_WHOLE_MIB] = "whole_mib",
	[VHD_AZURE_LENGTH] = "length",
};

static void check_done(struct check *check)
{
	store_close(&check->store);
}

static int fail(const struct check *check, const char *what, int error, struct problem *problem)
{
	problem_set(problem, "file", check->path, "cannot be %s: %s", what, strerror(-error));
	return error;
}

/* ---- looking ---- */

/* Where the last of them ends, if all are sound; else 0. Returns a negative errno of reading. */
static int find_blocks_end(const struct check *check, const struct vhd_dynamic *dynamic,
			   const struct vhd_extent *extent, uint64_t *ret_end)
{
	const uint64_t bytes = sectors_to_bytes(dynamic->bitmap_sectors + dynamic->block_sectors);
	be32 *bat = calloc(dynamic->nr_blocks, sizeof(*bat));
	uint64_t *scratch = calloc(dynamic->nr_blocks, sizeof(*scratch));
	struct vhd_problem problem;
	uint64_t end = dynamic->header_offset_bytes + VHD_DYNAMIC_HEADER_BYTES;
	const uint64_t bat_end =
		dynamic->bat_offset_bytes +
		round_up((uint64_t)dynamic->max_entries * sizeof(*bat), SECTOR_BYTES);
	int r = bat && scratch ? vhd_read_at(check->store.fd, dynamic->bat_offset_bytes, bat,
					     dynamic->nr_blocks * sizeof(*bat))
			       : -ENOMEM;

	*ret_end = 0;
	if (r == 0 && vhd_bat_check(bat, dynamic, extent, scratch, &problem) == 0) {
		end = end > bat_end ? end : bat_end;
		for (uint32_t i = 0; i < dynamic->nr_blocks; i++) {
			uint64_t at = sectors_to_bytes(be32_get(bat[i]));

			if (be32_get(bat[i]) != VHD_BLOCK_UNUSED && at + bytes > end)
				end = at + bytes;
		}
		*ret_end = end;
	}
	free(scratch);
	free(bat);
	return r;
}

/* Of a VHD that is not fixed; *ret_end stays 0 for what is not sound. */
static int examine_sparse(const struct check *check, const struct vhd_info *info, uint64_t *ret_end)
{
	const struct vhd_extent extent = { check->store.bytes, check->store.bytes };
	uint8_t header[VHD_DYNAMIC_HEADER_BYTES];
	struct vhd_dynamic dynamic;
	struct vhd_problem problem;
	uint64_t offset;
	int r;

	if (vhd_dynamic_offset(info, &extent, &offset, &problem) < 0)
		return 0;
	r = vhd_read_at(check->store.fd, offset, header, sizeof(header));
	if (r < 0 ||
	    vhd_dynamic_decode(header, info, info->disk_bytes, &extent, &dynamic, &problem) < 0)
		return r;
	return find_blocks_end(check, &dynamic, &extent, ret_end);
}

static void judge(struct check *check)
{
	struct vhd_footer tail;
	uint64_t file_bytes = check->patient.file_bytes;

	memcpy(&tail, check->patient.tail, sizeof(tail));
	vhd_azure_judge(&tail, file_bytes, check->kept);
	check->can_mend = vhd_mend_plan(&check->patient, &check->mend);
	if (!check->can_mend)
		return;
	memcpy(check->mended, check->kept, sizeof(check->mended));
	if (check->mend.in_copy)
		return;
	if (check->mend.at_bytes + VHD_FOOTER_BYTES > file_bytes)
		file_bytes = check->mend.at_bytes + VHD_FOOTER_BYTES;
	vhd_azure_judge(&check->mend.footer, file_bytes, check->mended);
}

static int examine(struct check *check, struct problem *problem)
{
	struct vhd_patient *patient = &check->patient;
	struct vhd_info info;
	bool by_copy;
	int r = 0;

	*patient = (struct vhd_patient){
		.file_bytes = check->store.bytes,
		.is_called_vhd = path_ends_in(check->path, ".vhd"),
		.fresh = &check->fresh,
	};
	if (patient->file_bytes < VHD_FOOTER_BYTES) {
		problem_set(problem, "file", check->path, "is too short for a VHD");
		return -EUCLEAN;
	}
	r = vhd_read_at(check->store.fd, 0, patient->head, VHD_FOOTER_BYTES);
	if (r == 0)
		r = vhd_read_at(check->store.fd, patient->file_bytes - VHD_FOOTER_BYTES,
				patient->tail, VHD_FOOTER_BYTES);
	if (r == 0 && vhd_mend_source(patient, &info, &by_copy) && info.disk_type != VHD_FIXED)
		r = examine_sparse(check, &info, &patient->blocks_end_bytes);
	if (r < 0)
		return fail(check, "read", r, problem);
	judge(check);
	return 0;
}

static int open_file(struct check *check, bool writable, struct problem *problem)
{
	int fd = open(check->path,
		      (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0)
		return fail(check, writable ? "opened for writing" : "opened", -errno, problem);
	r = store_file_init(&check->store, fd, writable ? STORE_LOCK_EXCLUSIVE : STORE_LOCK_SHARED,
			    0);
	if (r == -EBUSY) {
		problem_set(problem, "file", check->path, "is in use: %s",
			    writable ? "nothing was written" : "another program writes it");
		return r;
	}
	return r < 0 ? fail(check, "opened", r, problem) : 0;
}

/* ---- mending ---- */

/*
 * One sector, of which there is another or which tells nothing by now: if the power
 * goes in the middle, it can be done again.
 */
static int mend(struct check *check, struct problem *problem)
{
	const struct vhd_footer *footer = &check->mend.footer;
	ssize_t put = pwrite(check->store.fd, footer, sizeof(*footer), (off_t)check->mend.at_bytes);
	int r = 0;

	if (put != (ssize_t)sizeof(*footer))
		r = put < 0 ? -errno : -EIO;
	else if (fsync(check->store.fd) < 0)
		r = -errno;
	if (r < 0)
		return fail(check, "written", r, problem);
	check->has_mended = true;
	check->was = check->mend.what;
	if (check->mend.at_bytes + sizeof(*footer) > check->store.bytes)
		check->store.bytes = check->mend.at_bytes + sizeof(*footer);
	return examine(check, problem);
}

/* ---- telling ---- */

static bool is_accepted(const struct check *check)
{
	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++)
		if (!check->kept[i])
			return false;
	return true;
}

/* What mends rule @rule, which is broken. */
static void mend_text(const struct check *check, enum vhd_azure_rule rule,
		      char text[MEND_TEXT_BYTES])
{
	struct vhd_info info = { 0 };
	bool by_copy;
	const bool readable = vhd_mend_source(&check->patient, &info, &by_copy);
	const bool fixed = readable && info.disk_type == VHD_FIXED;

	if (check->can_mend && check->mended[rule])
		snprintf(text, MEND_TEXT_BYTES, "sealblk vhd check --fix %s", check->path);
	else if (!readable && check->can_mend)
		snprintf(text, MEND_TEXT_BYTES, "sealblk vhd check --fix %s, then look again",
			 check->path);
	else if (!readable && vhd_mend_is_foreign(&check->patient))
		snprintf(text, MEND_TEXT_BYTES, "sealblk convert %s NEW.vhd", check->path);
	else if (!readable)
		snprintf(text, MEND_TEXT_BYTES,
			 "nothing, if it was a VHD: copy it again; of a raw disk: sealblk convert "
			 "%s:raw NEW.vhd",
			 check->path);
	else if (fixed && info.disk_bytes > check->patient.file_bytes - VHD_FOOTER_BYTES)
		snprintf(text, MEND_TEXT_BYTES, "nothing: the file is cut, copy it again");
	else if (rule == VHD_AZURE_SIZE && info.disk_bytes > VHD_AZURE_BYTES_MAX)
		snprintf(text, MEND_TEXT_BYTES, "nothing: make the disk smaller from inside");
	else
		snprintf(text, MEND_TEXT_BYTES, "sealblk convert %s NEW.vhd", check->path);
}

/* What is wrong beside the rules, or with them: "" if nothing is. */
static const char *fault(const struct check *check)
{
	return check->can_mend ? check->mend.what : "";
}

static void print_check(const struct check *check)
{
	char text[MEND_TEXT_BYTES];

	if (check->has_mended)
		printf("fixed: %s; the footer was written anew\n", check->was);
	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++) {
		printf("%-32s %s", vhd_azure_rule_text((enum vhd_azure_rule)i),
		       check->kept[i] ? "yes" : "no");
		if (!check->kept[i]) {
			mend_text(check, (enum vhd_azure_rule)i, text);
			printf("   mends it: ");
			print_text(stdout, text);
		}
		putchar('\n');
	}
	if (fault(check)[0]) {
		snprintf(text, sizeof(text), "%s: sealblk vhd check --fix %s", fault(check),
			 check->path);
		print_text(stdout, text);
		putchar('\n');
	}
	print_text(stdout, check->path);
	printf(": Azure %s it\n", is_accepted(check) ? "takes" : "refuses");
}

static json_t *rules_json(const struct check *check)
{
	json_t *rules = json_array();
	char text[MEND_TEXT_BYTES];

	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++) {
		const enum vhd_azure_rule rule = (enum vhd_azure_rule)i;

		if (!check->kept[i])
			mend_text(check, rule, text);
		(void)json_array_append_new(
			rules, json_pack("{s:s, s:s, s:b, s:o}", "rule", rule_names[i], "text",
					 vhd_azure_rule_text(rule), "kept", check->kept[i], "mends",
					 check->kept[i] ? json_null() : print_text_json(text)));
	}
	return rules;
}

static int print_check_json(const struct check *check)
{
	json_t *object = json_pack("{s:o, s:b, s:b, s:o, s:o}", "path",
				   print_text_json(check->path), "accepted", is_accepted(check),
				   "fixed", check->has_mended, "problem",
				   fault(check)[0] ? json_string(fault(check)) : json_null(),
				   "rules", rules_json(check));
	int r = object ? print_json_object(object) : -ENOMEM;

	json_decref(object);
	return r;
}

int verb_vhd_check(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(check_done)
	struct check check = {
		.path = options->image,
		.fresh = { .created_s = (uint32_t)(time(NULL) - VHD_EPOCH_S) },
	};
	int r = uuid_make(check.fresh.uuid);

	memcpy(check.fresh.creator_app, VHD_CREATOR_WINDOWS, sizeof(check.fresh.creator_app));
	if (r < 0)
		return fail(&check, "given a unique id", r, problem);
	r = open_file(&check, options->fix, problem);
	if (r == 0)
		r = examine(&check, problem);
	if (r == 0 && options->fix && check.can_mend)
		r = mend(&check, problem);
	if (r < 0)
		return r;
	if (!options->json)
		print_check(&check);
	else if (print_check_json(&check) < 0)
		return fail(&check, "reported on", -ENOMEM, problem);
	/* All has been said. */
	problem->text[0] = '\0';
	return is_accepted(&check) && !check.can_mend ? 0 : -EUCLEAN;
}
