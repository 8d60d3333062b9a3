/* SPDX-License-Identifier: MIT */
/* sealblk export: see `sealblk export --help`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/uuid.h"
#include "copy_base.h"
#include "image/origin.h"
#include "image/uuid.h"
#include "keys.h"
#include "lanes.h"
#include "live.h"
#include "print.h"
#include "reach.h"
#include "session.h"
#include "transfer.h"
#include "verbs.h"
#include "vhd/azure.h"

struct exporter {
	struct copy_source source;
	struct session session;
	struct lanes lanes;
	json_t *identity;
};

static void exporter_done(struct exporter *exporter)
{
	lanes_done(&exporter->lanes);
	json_decref(exporter->identity);
	session_done(&exporter->session);
}

/* ---- the source ---- */

static int extent(struct copy_source *source, unsigned int thread, uint64_t first_sector,
		  uint64_t limit_sectors, bool *ret_hole, uint64_t *ret_sectors)
{
	return lanes_extent(&CONTAINER_OF(source, struct exporter, source)->lanes, thread,
			    first_sector, limit_sectors, ret_hole, ret_sectors);
}

static int read_sectors(struct copy_source *source, unsigned int thread, uint64_t first_sector,
			uint32_t nr_sectors, uint8_t *ret_data)
{
	return lanes_read(&CONTAINER_OF(source, struct exporter, source)->lanes, thread,
			  first_sector, nr_sectors, ret_data);
}

static void leave(struct copy_source *source, unsigned int thread, bool wait)
{
	lanes_leave(&CONTAINER_OF(source, struct exporter, source)->lanes, thread, wait);
}

/* The files of the base, if there is one, and the image's. */
static json_t *identity_of(const struct image *image)
{
	json_t *files = copy_base_identity(&image->base);

	if (!files || json_array_append_new(files, copy_file_identity(image->store.fd)) == 0)
		return files;
	json_decref(files);
	return NULL;
}

static int check_source(const void *arg, struct problem *problem)
{
	const struct exporter *exporter = arg;
	json_t *now = identity_of(exporter->session.image);
	const bool same = now && json_equal(now, exporter->identity);

	json_decref(now);
	if (same)
		return 0;
	problem_set(problem, "image", exporter->source.path,
		    "or its base has changed while it was read: nothing was kept of it");
	return -ESTALE;
}

static int open_image(struct exporter *exporter, const struct tool_options *options,
		      struct problem *problem)
{
	int r = session_open_to_read(&exporter->session, options, problem);
	const struct image *image = exporter->session.image;

	if (r == 0)
		r = lanes_init(&exporter->lanes, exporter->session.image, problem);
	if (r < 0)
		return r;
	exporter->source = (struct copy_source){
		.extent = extent,
		.read = read_sectors,
		.leave = leave,
		.path = options->image,
		.nr_sectors = image->disk.nr_sectors,
	};
	exporter->identity = identity_of(image);
	if (exporter->identity)
		return 0;
	problem_set(problem, "image", options->image, "no memory to read it");
	return -ENOMEM;
}

/* ---- the footer ---- */

/* A base that Azure would refuse is exported all the same: it was asked for as it is. */
static void warn_of_base(const struct transfer *transfer)
{
	bool kept[VHD_AZURE_RULES];

	vhd_azure_judge(&transfer->footer, transfer->disk_bytes + VHD_FOOTER_BYTES, kept);
	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++) {
		if (kept[i])
			continue;
		fputs("sealblk: ", stderr);
		print_text(stderr, transfer->path);
		fputs(" is the unmodified base, byte for byte, which Azure does not take: see "
		      "sealblk vhd check\n",
		      stderr);
		return;
	}
}

static int choose_footer(const struct image_origin *origin, struct transfer *transfer,
			 struct problem *problem)
{
	const uint64_t bytes = sectors_to_bytes(transfer->source->nr_sectors);
	int r = 0;

	transfer->disk_bytes = transfer_disk_bytes(transfer->format, bytes);
	if (transfer->format == TOOL_FORMAT_VHD && origin->is_base) {
		transfer->disk_bytes = bytes;
		memcpy(&transfer->footer, origin->footer, VHD_FOOTER_BYTES);
		warn_of_base(transfer);
	} else if (origin->has_footer) {
		vhd_footer_renew(origin->footer, transfer->disk_bytes, &transfer->footer);
	} else {
		r = transfer_new_footer(transfer->disk_bytes, &transfer->footer);
		if (r < 0)
			problem_set(problem, "destination", transfer->path, "no random numbers");
	}
	return r;
}

/* A destination that is a part of the source would be gone when it is replaced. */
static int refuse_itself(const char *path, struct problem *problem)
{
	problem_set(problem, "destination", path, "is the image itself, or its base");
	return -EINVAL;
}

/* ---- nobody serves it ---- */

static bool has_file(const struct image *image, const char *path)
{
	struct stat st;

	return copy_base_has(&image->base, path) ||
	       (stat(path, &st) == 0 && st.st_ino == image->store.inode &&
		st.st_dev == image->store.device);
}

/* @wanted: all but where it comes from. */
static int export_file(const struct tool_options *options, const struct transfer *wanted,
		       struct problem *problem)
{
	CLEANUP(exporter_done) struct exporter exporter = { .session.uuid_lock = -1 };
	struct transfer transfer = *wanted;
	struct image_origin origin;
	int r;

	if (options->nr_key_sources == 0) {
		problem_set(problem, "image", options->image,
			    "is not being served: a key is needed, " TOOL_KEY_OPTIONS);
		return -EINVAL;
	}
	r = open_image(&exporter, options, problem);
	if (r < 0)
		return r;
	if (has_file(exporter.session.image, transfer.path))
		return refuse_itself(transfer.path, problem);
	transfer.source = &exporter.source;
	transfer.identity = exporter.identity;
	transfer.check_source = check_source;
	transfer.arg = &exporter;
	image_find_origin(exporter.session.image, &origin);
	r = choose_footer(&origin, &transfer, problem);
	return r == 0 ? transfer_run(&transfer, problem) : r;
}

/* ---- a daemon ---- */

/* It is held still. */
static int take_for_granted(const void *arg, struct problem *problem)
{
	(void)arg;
	(void)problem;
	return 0;
}

/* No other run's: what an earlier one has left is not of this disk as it is now. */
static json_t *identity_of_moment(void)
{
	uint8_t uuid[SEAL_UUID_BYTES];
	char text[UUID_TEXT_BYTES];

	if (uuid_make(uuid) < 0)
		return NULL;
	uuid_to_text(uuid, text);
	return json_pack("{s:s}", "moment", text);
}

static int run_live(struct live *live, struct transfer *transfer, struct problem *problem)
{
	json_t *identity;
	int r = choose_footer(&live->origin, transfer, problem);

	if (r < 0)
		return r;
	identity = identity_of_moment();
	if (!identity) {
		problem_set(problem, "destination", transfer->path, "no memory to write it");
		return -ENOMEM;
	}
	transfer->identity = identity;
	r = transfer_run(transfer, problem);
	json_decref(identity);
	/* The daemon knows better why it could not be read. */
	if (r < 0 && live->error)
		*problem = live->problem;
	return r;
}

static int export_live(struct reach *reach, const struct transfer *wanted, struct problem *problem)
{
	CLEANUP(live_done) struct live live = { 0 };
	struct transfer transfer = *wanted;
	int r = live_begin(&live, reach, transfer.path, problem);

	if (r < 0)
		return r;
	if (live_has(&live, transfer.path))
		return refuse_itself(transfer.path, problem);
	transfer.source = &live.source;
	transfer.check_source = take_for_granted;
	transfer.once = true;
	return run_live(&live, &transfer, problem);
}

/* ---- the verb ---- */

int verb_export_check(const struct tool_options *options, struct problem *problem)
{
	int r = transfer_check_options(options, problem);

	if (r == 0 && options->nr_key_sources > 0)
		r = tool_check_key(options, problem);
	return r;
}

int verb_export(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	struct transfer transfer = {
		.options = options,
		.what = "exported",
		.path = options->second,
		.mode = 0600, /* what was encrypted is not for everybody now */
		.format = transfer_format(options, options->second),
	};
	int r = reach_open(&reach, options->image, problem);

	if (r < 0)
		return r;
	if (reach.daemon)
		return export_live(&reach, &transfer, problem);
	reach_done(&reach); /* its lock would be in the way */
	return export_file(options, &transfer, problem);
}
