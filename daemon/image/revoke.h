/* SPDX-License-Identifier: MIT */
/*
 * Revoking the keys of an image and restoring them (docs/format.md 9, "revoke").
 *
 * Revoked: the superblock says so, durably, and nobody uses the keys. An image
 * that is being served keeps its map and its clients meanwhile; its session has
 * ended as at a clean close, and a new one begins when the keys come back.
 *
 * Live, by the caller: new requests are refused (disk.revoked), those under way
 * drained, map_rest() -> image_revoke_prepare() -> lanes forget their keys ->
 * image_forget_keys() -> image_revoke_finish(). Back: image_restore_keys() ->
 * lanes get their keys -> image_restore_finish() -> requests are let in.
 *
 * All of it blocks, on the thread of the image's ring and lane. *problem is
 * filled in where something has failed.
 */
#ifndef IMAGE_REVOKE_H
#define IMAGE_REVOKE_H

#include <stdbool.h>

#include "base/compiler.h"
#include "image/image.h"
#include "image/problem.h"

/*
 * The superblock of the revoked image, one way and the other. Made while the MAC
 * key is there, written when it is not: no hanging disk keeps keys in memory.
 */
struct revoked_supers {
	struct seal_superblock clean;
	struct seal_superblock unclean;
};

/* Returns 0, or a negative errno of the MAC: nothing is to be written then. */
int MUST_CHECK image_revoke_prepare(struct image *image, struct revoked_supers *ret_supers);

/* Wipe the keyring's keys and those of the image's own lane. */
void image_forget_keys(struct image *image);

/*
 * End the session and make `revoked` durable. @rest: what map_rest() said last;
 * 0: the image is closed cleanly, else it stays unclean. *ret_clean: which.
 * Returns 0, or -EIO: whether it is revoked shows when it is opened again.
 */
int MUST_CHECK image_revoke_finish(struct image *image, const struct revoked_supers *supers,
				   int rest, bool *ret_clean, struct problem *problem);

/* Does @secret open a slot of the keyring? 0, -EKEYREJECTED, -EUCLEAN, -ENOMEM or -EIO. */
int MUST_CHECK image_check_key(const struct image *image, const struct key_secret *secret,
			       struct problem *problem);

/*
 * Unlock the keyring again, and give the image's own lane its keys. Returns 0;
 * -EKEYREJECTED: @secret opens no slot; -EIO: writing had failed before, so only
 * a restart can tell what is durable; -EUCLEAN, -ENOMEM.
 */
int MUST_CHECK image_restore_keys(struct image *image, const struct key_secret *secret,
				  struct problem *problem);

/*
 * Begin a new session, durably without `revoked`; lanes have their keys. Returns 0,
 * or a negative errno: still revoked, image_forget_keys() is due. -EIO: the
 * export has failed, too.
 */
int MUST_CHECK image_restore_finish(struct image *image, struct problem *problem);

/*
 * Of an image that nobody serves, which image_unlock_revoked() has unlocked: set or
 * clear the mark, and nothing else; what a crash left is left for the next open.
 * *ret_changed: it was not so already. @dirty_store: of its host, in case that a
 * sync fails. Returns 0 or -EIO.
 */
int MUST_CHECK image_mark_revoked(struct image *image, bool revoked,
				  struct dirty_store *dirty_store, bool *ret_changed,
				  struct problem *problem);

#endif
