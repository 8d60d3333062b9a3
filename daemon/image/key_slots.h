/* SPDX-License-Identifier: MIT */
/*
 * Changing who can open an image: the key slots of its keyring, which wrap the
 * image key. No other key changes and no data is touched, so it costs header
 * time. The image need not be in a session: its keyring is all that is written.
 */
#ifndef IMAGE_KEY_SLOTS_H
#define IMAGE_KEY_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/image.h"
#include "image/problem.h"
#include "keys/key_source.h"

enum key_change_kind {
	KEY_CHANGE_ADD,	   /* @new_secret opens the image as well from now on */
	KEY_CHANGE_REMOVE, /* what opened it by @slot opens it no more */
	KEY_CHANGE_ROTATE, /* @new_secret opens it instead of @secret */
};

struct key_change {
	enum key_change_kind kind;
	/* Add and rotate: must open a slot. NULL: the one that image_unlock() took. */
	const struct key_secret *secret;
	const struct key_secret *new_secret; /* add and rotate */
	unsigned int slot;		     /* remove; below KEY_SLOTS_MAX */
	bool destroy_data;		     /* remove: the last slot, and no other */
	uint64_t now_s;
};

struct key_change_result {
	bool added;		    /* false: @new_secret was there already */
	unsigned int new_slot;	    /* add and rotate: where it is */
	bool removed;		    /* false: the slot was empty already */
	unsigned int old_slot;	    /* remove and rotate */
	unsigned int nr_slots_left; /* 0: nothing opens the image any more, for ever */
};

/*
 * To ask for what is so already changes nothing and is no failure. Each step is
 * durable in both copies of the keyring before the next one: a rotation that a
 * crash cuts short leaves the old slot, or both, or the new one, and asked for
 * again it goes on from there.
 *
 * @image is unlocked and writable. Blocks, on the thread of the image's ring.
 * Returns 0; or with *problem -EKEYREJECTED: @secret opens no slot; -EROFS: not
 * writable; -ENOSPC: no slot is free; -EINVAL: the last slot without
 * @destroy_data, another one with it, or a rotation to the same key: nothing has
 * changed then. -EIO: what is durable of the change is unknown until the image is
 * opened again; of an image in a session the export has failed then. -ENOMEM.
 */
int MUST_CHECK image_change_keys(struct image *image, const struct key_change *change,
				 struct key_change_result *ret_result, struct problem *problem);

#endif
