/* SPDX-License-Identifier: MIT */
/* sealblk vhd info of a VHDX: reading and counting. */
#include "vhdx.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "image/layer.h"
#include "image/vhd_problem.h"
#include "sealblk/limits.h"
#include "vhd/locator.h"

bool vhdx_is_meant(int fd, const char *path)
{
	const char *suffix = strrchr(path, '.');
	uint8_t head[VHDX_SIGNATURE_BYTES];

	if (suffix && strcasecmp(suffix, ".vhd") == 0)
		return false;
	if (suffix && strcasecmp(suffix, ".vhdx") == 0)
		return true;
	return pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       vhdx_has_signature(head, sizeof(head));
}

static void count_blocks(struct vhdx_findings *found)
{
	const struct vhdx *vhdx = found->vhdx;

	for (uint32_t i = 0; i < vhdx->layout.nr_blocks; i++) {
		const enum vhdx_block_state state =
			vhdx_entry_state(vhdx->bat[vhdx_block_entry(&vhdx->layout, i)]);

		found->nr_stored += state == VHDX_BLOCK_FULLY_PRESENT;
		found->nr_partial += state == VHDX_BLOCK_PARTIALLY_PRESENT;
		found->nr_zero += state == VHDX_BLOCK_ZERO || state == VHDX_BLOCK_UNMAPPED;
	}
}

/* Up to its first NUL. It is text as a path is, but for backslashes, which none has. */
static void read_creator(const struct store *store, struct vhdx_findings *found)
{
	struct vhdx_identifier identifier;
	char text[PATH_BYTES_MAX];
	size_t nr = 0;

	if (layer_read(store, 0, &identifier, sizeof(identifier)) < 0)
		return;
	while (nr < sizeof(identifier.creator) &&
	       (identifier.creator[nr] != 0 || identifier.creator[nr + 1] != 0))
		nr += 2;
	if (vhd_locator_path(identifier.creator, nr, text) == 0 &&
	    strlen(text) < sizeof(found->creator))
		memcpy(found->creator, text, strlen(text) + 1);
}

static int report(const struct store *store, const struct vhdx *vhdx, const char *path, bool json)
{
	struct vhdx_findings found = {
		.path = path,
		.file_bytes = store->bytes,
		.vhdx = vhdx,
	};

	read_creator(store, &found);
	count_blocks(&found);
	if (json)
		return vhdx_print_json(&found);
	vhdx_print_text(&found);
	return 0;
}

static int tell(const char *path, int error, const struct vhdx_problem *why,
		struct problem *problem)
{
	char text[VHD_PROBLEM_TEXT_BYTES];

	if (why->reason == VHDX_FINE) {
		problem_set(problem, "file", path, "cannot be read: %s", strerror(-error));
		return error;
	}
	vhdx_problem_text(why, text);
	problem_set(problem, "file", path, "%s", text);
	return -EUCLEAN;
}

int vhdx_info_of(int fd, const char *path, bool json, struct problem *problem)
{
	struct vhdx_problem why = { 0 };
	struct store store = { 0 };
	struct vhdx *vhdx = NULL;
	int copy = dup(fd);
	int r = copy < 0 ? -errno : store_file_init(&store, copy, STORE_LOCK_NONE, 0);

	if (r == 0)
		r = vhdx_read(&store, &vhdx, &why);
	if (r == 0) {
		r = report(&store, vhdx, path, json);
		if (r < 0)
			problem_set(problem, "file", path, "no memory to report on it");
	} else {
		r = tell(path, r, &why, problem);
	}
	vhdx_free(vhdx);
	store_close(&store);
	return r;
}
