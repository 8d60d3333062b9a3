/* SPDX-License-Identifier: MIT */
/* sealblk import: see `sealblk import --help`. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "copy_base.h"
#include "image/create.h"
#include "image/uuid.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "lanes.h"
#include "part.h"
#include "session.h"
#include "transfer.h"
#include "verbs.h"

struct importer {
	const struct tool_options *options;
	struct copy_base from;
	struct copy_sink sink;
	json_t *identity;
	struct part part; /* the image, until it is complete */
	struct session session;
	struct lanes lanes;
};

static void importer_done(struct importer *importer)
{
	lanes_done(&importer->lanes);
	session_done(&importer->session);
	part_done(&importer->part);
	json_decref(importer->identity);
	copy_base_close(&importer->from);
}

/* ---- the sink ---- */

static int write_sectors(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
			 uint32_t nr_sectors, uint8_t *data)
{
	return lanes_write(&CONTAINER_OF(sink, struct importer, sink)->lanes, thread, first_sector,
			   nr_sectors, data);
}

static int read_sectors(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
			uint32_t nr_sectors, uint8_t *ret_data)
{
	return lanes_read(&CONTAINER_OF(sink, struct importer, sink)->lanes, thread, first_sector,
			  nr_sectors, ret_data);
}

static int clear(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		 uint64_t nr_sectors)
{
	return lanes_zero(&CONTAINER_OF(sink, struct importer, sink)->lanes, thread, first_sector,
			  nr_sectors);
}

static void leave(struct copy_sink *sink, unsigned int thread, bool wait)
{
	lanes_leave(&CONTAINER_OF(sink, struct importer, sink)->lanes, thread, wait);
}

/* ---- the image ---- */

static int make_image(struct importer *importer, const struct key_secret *secret,
		      const uint8_t uuid[SEAL_UUID_BYTES], struct problem *problem)
{
	const struct layer *layer = importer->from.base.layers[0];
	const struct image_recipe recipe = {
		.disk_bytes = importer->from.base.disk_bytes,
		.encryption = true,
		.now_s = (uint64_t)time(NULL),
		.uuid = uuid,
		.secret = secret,
		.source_footer = layer->format == BASE_VHD ? layer->footer : NULL,
	};
	struct ring *ring;
	int r = ring_sync_new(&ring);

	if (r < 0) {
		problem_set(problem, "image", importer->part.path, "no memory");
		return r;
	}
	r = image_create(ring, importer->part.temporary, &recipe, problem);
	ring_free(ring);
	return r;
}

static int open_new(struct importer *importer, struct problem *problem)
{
	uint8_t uuid[SEAL_UUID_BYTES];
	struct key_secret *secret = NULL;
	int r = uuid_make(uuid);

	if (r < 0) {
		problem_set(problem, "image", importer->part.path, "no random numbers");
		return r;
	}
	r = tool_read_first_key(&importer->options->key_source, uuid, &secret, problem);
	if (r == 0)
		r = part_note(&importer->part, 0, problem);
	if (r == 0)
		r = make_image(importer, secret, uuid, problem);
	if (r == 0)
		return session_open_new(&importer->session, importer->part.temporary, secret,
					problem);
	key_mem_free(secret);
	return r;
}

/* What an earlier run has left: as an image, it says itself what it is. */
static int open_kept(struct importer *importer, struct problem *problem)
{
	struct tool_options options = *importer->options;

	part_release(&importer->part);
	options.image = importer->part.temporary;
	return session_open(&importer->session, &options, problem);
}

static int open_image(struct importer *importer, struct problem *problem)
{
	int r = importer->part.found ? open_kept(importer, problem) : open_new(importer, problem);

	return r == 0 ? lanes_init(&importer->lanes, importer->session.image, problem) : r;
}

/* ---- copying ---- */

static int copy(struct importer *importer, struct copy_result *ret_result, struct problem *problem)
{
	const struct copy_job job = {
		.source = &importer->from.source,
		.sink = &importer->sink,
		.kept_sectors = importer->part.kept_sectors,
		.options = importer->options,
		.what = "import",
	};
	const int copied = copy_run(&job, ret_result, problem);
	int r = copied;

	lanes_done(&importer->lanes);
	if (r == 0)
		r = copy_base_check(&importer->from, problem);
	if (r == 0 || r == -EINTR) {
		int closed = session_close(&importer->session, problem);

		r = closed < 0 ? closed : r;
	}
	if (r == 0)
		return part_commit(&importer->part, problem);
	if (r != -EINTR)
		return r;
	r = part_note(&importer->part, ret_result->at_sector, problem);
	return r < 0 ? r
		     : transfer_interrupted(ret_result, importer->from.source.nr_sectors,
					    importer->part.temporary, problem);
}

static int run(struct importer *importer, struct problem *problem)
{
	struct copy_result result;
	const struct transfer_summary summary = {
		.options = importer->options,
		.what = "imported",
		.from = importer->options->image,
		.to = importer->part.path,
		.format = "encrypted image",
		.disk_bytes = importer->from.base.disk_bytes,
		.padding_bytes = importer->from.source.missing_bytes,
		.result = &result,
	};
	const bool kept = importer->part.found;
	int r = open_image(importer, problem);

	/* What could not be opened now (a wrong key) another run may go on with. */
	if (r < 0 && kept)
		return r;
	if (r == 0)
		r = copy(importer, &result, problem);
	/* -EEXIST, -EBUSY: IMAGE.part is another run's, which began in this moment. */
	if (r < 0 && r != -EINTR && r != -EEXIST && r != -EBUSY) {
		session_forget(&importer->session);
		part_discard(&importer->part);
	}
	return r < 0 ? r : transfer_tell(&summary, problem);
}

int verb_import(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(importer_done)
	struct importer importer = {
		.options = options,
		.sink = { .write = write_sectors,
			  .read = read_sectors,
			  .clear = clear,
			  .leave = leave,
			  .path = options->second },
		.part = { .role = "image", .path = options->second, .mode = 0600 },
		.session.uuid_lock = -1,
	};
	int r = copy_base_open(&importer.from, options->image, problem);

	if (r < 0)
		return r;
	importer.identity = json_pack("{s:O, s:I, s:s}", "source", importer.from.identity,
				      "source_sectors", (json_int_t)importer.from.source.nr_sectors,
				      "format", "image");
	if (!importer.identity) {
		problem_set(problem, "image", options->second, "no memory to make it");
		return -ENOMEM;
	}
	importer.part.identity = importer.identity;
	r = part_init(&importer.part, problem);
	if (r < 0)
		return r;
	transfer_tell_part(&importer.part);
	copy_catch_signals();
	return run(&importer, problem);
}
