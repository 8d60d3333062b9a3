/* SPDX-License-Identifier: MIT */
/* The second half of convert and export: see transfer.h. */
#include "transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/size_text.h"
#include "copy_file.h"
#include "image/path.h"
#include "image/uuid.h"
#include "print.h"
#include "vhd/azure.h"
#include "vhd/footer.h"

static const char *const format_names[] = {
	[TOOL_FORMAT_VHD] = "fixed VHD",
	[TOOL_FORMAT_VHD_DYNAMIC] = "dynamic VHD",
	[TOOL_FORMAT_RAW] = "raw",
};

/* ---- what is to be written ---- */

int transfer_check_options(const struct tool_options *options, struct problem *problem)
{
	if (options->format != TOOL_FORMAT_AUTO || !path_ends_in(options->second, ".vhdx"))
		return 0;
	tool_usage_problem(problem, options->verb, "VHDX is read, but not written: give --format");
	return -EINVAL;
}

enum tool_format transfer_format(const struct tool_options *options, const char *path)
{
	if (options->format != TOOL_FORMAT_AUTO)
		return options->format;
	return path_ends_in(path, ".raw") || path_ends_in(path, ".img") ? TOOL_FORMAT_RAW
									: TOOL_FORMAT_VHD;
}

uint64_t transfer_disk_bytes(enum tool_format format, uint64_t source_bytes)
{
	const uint64_t least = format == TOOL_FORMAT_VHD ? VHD_AZURE_BYTES_MIN : 0;
	const uint64_t unit = format == TOOL_FORMAT_VHD ? MIB : SECTOR_BYTES;

	return round_up(source_bytes > least ? source_bytes : least, unit);
}

int transfer_new_footer(uint64_t disk_bytes, struct vhd_footer *ret_footer)
{
	struct vhd_fixed fixed = {
		.disk_bytes = disk_bytes,
		.created_s = (uint32_t)(time(NULL) - VHD_EPOCH_S),
	};
	int r = uuid_make(fixed.uuid);

	memcpy(fixed.creator_app, VHD_CREATOR_WINDOWS, sizeof(fixed.creator_app));
	vhd_footer_build(&fixed, ret_footer);
	return r;
}

/* ---- words ---- */

static json_t *summary_json(const struct transfer_summary *summary)
{
	const struct copy_result *result = summary->result;

	return json_pack("{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "event", "done",
			 "source", print_text_json(summary->from), "destination",
			 print_text_json(summary->to), "format", summary->format, "disk_bytes",
			 (json_int_t)summary->disk_bytes, "padding_bytes",
			 (json_int_t)summary->padding_bytes, "stored_bytes",
			 (json_int_t)result->stored_bytes, "written_bytes",
			 (json_int_t)result->written_bytes, "verified_bytes",
			 (json_int_t)result->verified_bytes, "seconds", result->seconds);
}

static void print_summary(const struct transfer_summary *summary)
{
	const struct copy_result *result = summary->result;
	char size[SIZE_TEXT_BYTES];

	printf("%s ", summary->what);
	print_text(stdout, summary->from);
	printf(" to ");
	print_text(stdout, summary->to);
	printf(": %s, disk of %s (%" PRIu64 " bytes)", summary->format,
	       size_text(summary->disk_bytes, size), summary->disk_bytes);
	printf("; %s stored", size_text(result->stored_bytes, size));
	printf(", %s written", size_text(result->written_bytes, size));
	if (result->verified_bytes > 0)
		printf(", %s found right", size_text(result->verified_bytes, size));
	printf(", in %.1f s\n", result->seconds);
	if (summary->padding_bytes > 0)
		printf("padded with %" PRIu64 " bytes of zeros: %s\n", summary->padding_bytes,
		       summary->padding_bytes < SECTOR_BYTES
			       ? "a disk is of whole sectors, 512 bytes each"
			       : "Azure takes whole MiB, and 20 at least");
}

int transfer_tell(const struct transfer_summary *summary, struct problem *problem)
{
	json_t *object;
	int r;

	if (!summary->options->json) {
		print_summary(summary);
		return 0;
	}
	object = summary_json(summary);
	r = object ? print_json_object(object) : -ENOMEM;
	json_decref(object);
	if (r < 0)
		problem_set(problem, "destination", summary->to, "is complete; no memory to tell");
	return r;
}

void transfer_tell_part(const struct part *part)
{
	if (!part->found_other)
		return;
	fputs("sealblk: ", stderr);
	print_text(stderr, part->temporary);
	fputs(" was of another source, or of this one before it changed: begun anew\n", stderr);
}

int transfer_interrupted(const struct copy_result *result, uint64_t nr_sectors, const char *part,
			 struct problem *problem)
{
	problem_set(problem, "copy", part,
		    "interrupted at %.1f%% of the disk: this file is kept, and the same command "
		    "goes on from there",
		    (double)result->at_sector * 100 / (double)nr_sectors);
	return -EINTR;
}

/* ---- copying ---- */

static int cannot_write(const struct transfer *transfer, int error, struct problem *problem)
{
	problem_set(problem, "destination", transfer->path, "cannot be written: %s",
		    strerror(-error));
	return error;
}

static int complete(const struct transfer *transfer, struct copy_file *file, struct part *part,
		    struct problem *problem)
{
	int r = transfer->check_source(transfer->arg, problem);

	if (r < 0)
		return r;
	r = copy_file_finish(file, &transfer->footer);
	if (r == 0 && fsync(file->fd) < 0)
		r = -errno;
	return r < 0 ? cannot_write(transfer, r, problem) : part_commit(part, problem);
}

/* Interrupted: what there is stays, if it is durable and can be gone on with. */
static int suspend(const struct transfer *transfer, struct copy_file *file, struct part *part,
		   const struct copy_result *result, struct problem *problem)
{
	int r = copy_file_suspend(file);

	if (r == 0 && fsync(file->fd) < 0)
		r = -errno;
	if (r < 0)
		return cannot_write(transfer, r, problem);
	r = part_note(part, result->at_sector, problem);
	return r < 0 ? r
		     : transfer_interrupted(result, transfer->source->nr_sectors, part->temporary,
					    problem);
}

static int give_up(const struct transfer *transfer, struct problem *problem)
{
	problem_set(
		problem, transfer->options->verb->name, transfer->path,
		"interrupted: nothing is kept, as what a disk in use holds now it does not hold "
		"later: the same command begins anew");
	return -ECANCELED;
}

/* What an earlier run has left may not be what it says: then all begins anew. */
static int open_file(const struct transfer *transfer, struct part *part, struct copy_file *file,
		     struct problem *problem)
{
	int r = part_open(part, problem);

	if (r == 0)
		r = part_note(part, part->kept_sectors, problem);
	if (r == 0)
		r = copy_file_init(file, transfer->format, part->store.fd, transfer->path,
				   transfer->disk_bytes, part->found, problem);
	if (r != -EUCLEAN)
		return r;
	part->kept_sectors = 0;
	if (ftruncate(part->store.fd, 0) < 0)
		return cannot_write(transfer, -errno, problem);
	return copy_file_init(file, transfer->format, part->store.fd, transfer->path,
			      transfer->disk_bytes, false, problem);
}

static int copy(const struct transfer *transfer, struct part *part, struct copy_result *ret_result,
		struct problem *problem)
{
	CLEANUP(copy_file_done) struct copy_file file = { 0 };
	struct copy_job job = {
		.source = transfer->source,
		.sink = &file.sink,
		.options = transfer->options,
		.what = transfer->options->verb->name,
	};
	int r = open_file(transfer, part, &file, problem);

	if (r < 0)
		return r;
	job.kept_sectors = part->kept_sectors;
	r = copy_run(&job, ret_result, problem);
	if (r == 0)
		return complete(transfer, &file, part, problem);
	if (r != -EINTR)
		return r;
	return transfer->once ? give_up(transfer, problem)
			      : suspend(transfer, &file, part, ret_result, problem);
}

static json_t *identity_of(const struct transfer *transfer)
{
	return json_pack("{s:O, s:I, s:s, s:I}", "source", transfer->identity, "source_sectors",
			 (json_int_t)transfer->source->nr_sectors, "format",
			 format_names[transfer->format], "disk_bytes",
			 (json_int_t)transfer->disk_bytes);
}

static int run(const struct transfer *transfer, struct part *part, struct problem *problem)
{
	struct copy_result result;
	const struct transfer_summary summary = {
		.options = transfer->options,
		.what = transfer->what,
		.from = transfer->source->path,
		.to = transfer->path,
		.format = format_names[transfer->format],
		.disk_bytes = transfer->disk_bytes,
		.padding_bytes = transfer->disk_bytes -
				 sectors_to_bytes(transfer->source->nr_sectors) +
				 transfer->source->missing_bytes,
		.result = &result,
	};
	int r = part_init(part, problem);

	if (r < 0)
		return r;
	transfer_tell_part(part);
	copy_catch_signals();
	r = copy(transfer, part, &result, problem);
	/* A DEST.part that is somebody else's by now was never opened. */
	if (r < 0 && r != -EINTR && part->store.ops)
		part_discard(part);
	return r < 0 ? r : transfer_tell(&summary, problem);
}

int transfer_run(const struct transfer *transfer, struct problem *problem)
{
	CLEANUP(part_done)
	struct part part = {
		.role = "destination",
		.path = transfer->path,
		.replaces = transfer->options->force,
		.mode = transfer->mode,
	};
	json_t *identity = identity_of(transfer);
	int r;

	if (!identity) {
		problem_set(problem, "destination", transfer->path, "no memory to write it");
		return -ENOMEM;
	}
	part.identity = identity;
	r = run(transfer, &part, problem);
	json_decref(identity);
	return r;
}
