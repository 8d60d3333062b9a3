/* SPDX-License-Identifier: MIT */
/* Owned bases: see base_own.h. */
#include "image/base_own.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sealblk/units.h"

static int refuse(const struct layer *layer, const char *why, struct problem *ret_problem)
{
	problem_set(ret_problem, "base", layer->path, "cannot be owned: %s", why);
	return -EINVAL;
}

int base_own_prepare(struct base_identity *identity, const struct base *base,
		     const uint8_t uuid[SEAL_UUID_BYTES], struct problem *ret_problem)
{
	const struct layer *top = base->layers[0];

	if (base->format == BASE_RAW)
		return refuse(top,
			      "a raw file has no unique id, by which others over it could tell "
			      "that it changes; make it a fixed VHD",
			      ret_problem);
	if (base->format == BASE_VHDX)
		return refuse(top, "it is a VHDX, whose disk is in pieces; make it a fixed VHD",
			      ret_problem);
	if (!layer_is_flat(top))
		return refuse(top,
			      "it is a dynamic or differencing VHD, whose disk is in pieces; make "
			      "it a fixed VHD",
			      ret_problem);
	if (top->store.bytes % SECTOR_BYTES != 0)
		return refuse(top, "its length is no multiple of 512", ret_problem);
	identity->owned = true;
	vhd_footer_own(top->footer, uuid, identity->owned_footer);
	return 0;
}

bool base_is_adopted(const struct base_identity *identity, const struct base *base)
{
	return memcmp(base->layers[0]->footer, identity->owned_footer,
		      sizeof(identity->owned_footer)) == 0;
}

int base_adopt(const struct base_identity *identity, const struct base *base,
	       struct problem *ret_problem)
{
	struct layer *top = base->layers[0];
	ssize_t written;
	int r = 0;

	if (base_is_adopted(identity, base))
		return 0;
	/* One sector: whole or not at all. */
	written = pwrite(top->store.fd, identity->owned_footer, sizeof(identity->owned_footer),
			 (off_t)(top->store.bytes - sizeof(identity->owned_footer)));
	if (written < 0)
		r = -errno;
	else if ((size_t)written != sizeof(identity->owned_footer))
		r = -EIO;
	if (r == 0 && fsync(top->store.fd) < 0)
		r = -errno;
	if (r < 0)
		problem_set(ret_problem, "base", top->path, "cannot be given its new id: %s",
			    strerror(-r));
	return r;
}
