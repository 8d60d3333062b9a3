/* SPDX-License-Identifier: MIT */
/* sealblk export: see `sealblk export --help`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "copy_base.h"
#include "image/names.h"
#include "keys.h"
#include "lanes.h"
#include "print.h"
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

	if (r == -EBUSY)
		problem_set(problem, "image", options->image,
			    "is in use: stop the daemon that serves it, and export it then");
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

/* Is its disk the base's, sector for sector, and the base nothing but that disk and its footer? */
static bool is_its_base(struct image *image)
{
	const struct map_counts counts = map_counts(&image->disk.map);
	const struct base_identity *base = &image->base_identity;
	const uint64_t disk_bytes = sectors_to_bytes(image->disk.nr_sectors);

	return image->super.has_base && base->format == BASE_VHD &&
	       image->base.layers[0]->vhd.disk_type == VHD_FIXED &&
	       base->disk_bytes == disk_bytes &&
	       base->file_bytes == disk_bytes + VHD_FOOTER_BYTES && counts.known &&
	       counts.sectors[SEAL_ENTRY_BASE] == image->disk.nr_sectors;
}

/* Of the VHD that the disk comes from, if it comes from one. */
static const uint8_t *old_footer(const struct image *image)
{
	const uint8_t *footer;
	size_t nr_bytes;

	if ((names_find(&image->names, "base.footer", &footer, &nr_bytes) == 0 ||
	     names_find(&image->names, NAMES_SOURCE_FOOTER, &footer, &nr_bytes) == 0) &&
	    nr_bytes == VHD_FOOTER_BYTES)
		return footer;
	return NULL;
}

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

static int choose_footer(struct image *image, struct transfer *transfer, struct problem *problem)
{
	const uint64_t bytes = sectors_to_bytes(image->disk.nr_sectors);
	const uint8_t *old = old_footer(image);
	int r = 0;

	transfer->disk_bytes = transfer_disk_bytes(transfer->format, bytes);
	if (transfer->format == TOOL_FORMAT_VHD && is_its_base(image)) {
		transfer->disk_bytes = bytes;
		memcpy(&transfer->footer, image->base_identity.footer, VHD_FOOTER_BYTES);
		warn_of_base(transfer);
	} else if (old) {
		vhd_footer_renew(old, transfer->disk_bytes, &transfer->footer);
	} else {
		r = transfer_new_footer(transfer->disk_bytes, &transfer->footer);
		if (r < 0)
			problem_set(problem, "destination", transfer->path, "no random numbers");
	}
	return r;
}

/* ---- the verb ---- */

int verb_export_check(const struct tool_options *options, struct problem *problem)
{
	int r = transfer_check_options(options, problem);

	return r == 0 ? tool_check_key(options, problem) : r;
}

/* A destination that is a part of the source would be gone when it is replaced. */
static int refuse_itself(const struct exporter *exporter, const char *path, struct problem *problem)
{
	const struct image *image = exporter->session.image;
	struct stat st;

	if (!copy_base_has(&image->base, path) &&
	    (stat(path, &st) < 0 || st.st_ino != image->store.inode ||
	     st.st_dev != image->store.device))
		return 0;
	problem_set(problem, "destination", path, "is the image itself, or its base");
	return -EINVAL;
}

int verb_export(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(exporter_done) struct exporter exporter = { .session.uuid_lock = -1 };
	struct transfer transfer = {
		.options = options,
		.what = "exported",
		.source = &exporter.source,
		.path = options->second,
		.mode = 0600, /* what was encrypted is not for everybody now */
		.format = transfer_format(options, options->second),
		.check_source = check_source,
		.arg = &exporter,
	};
	int r = open_image(&exporter, options, problem);

	if (r == 0)
		r = refuse_itself(&exporter, options->second, problem);
	if (r == 0)
		r = choose_footer(exporter.session.image, &transfer, problem);
	if (r < 0)
		return r;
	transfer.identity = exporter.identity;
	return transfer_run(&transfer, problem);
}
