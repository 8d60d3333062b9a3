/* SPDX-License-Identifier: MIT */
/*
 * An image: opening, recovering, serving and closing it.
 *
 * image_load() reads what needs no key; that much is enough to report.
 * image_unlock() opens the keyring and checks every MAC; image_start() recovers
 * what a crash left and begins a session: from then on lanes may serve it.
 * image_stop() ends the session cleanly. All of them block, on the thread that
 * calls, and run before the first or after the last worker.
 *
 * On failure they return a negative errno and fill in a struct problem:
 * -EUCLEAN: the image is damaged or refused (exit code 3); -EKEYREJECTED: no key
 * opens it (4); anything else: the operation failed (1).
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/base.h"
#include "image/base_identity.h"
#include "image/dirty_store.h"
#include "image/problem.h"
#include "image/rewrite.h"
#include "keys/keyring.h"
#include "request/disk.h"
#include "sealblk/seal_format.h"
#include "store/store.h"

struct image {
	char path[PATH_BYTES_MAX];
	struct store store;
	struct ring *ring; /* for everything blocking; the caller's */
	bool writable;

	/* As on disk. */
	struct seal_superblock super;
	unsigned int super_copy; /* the one that counts: written last */
	struct seal_keyring keyring;
	unsigned int keyring_copy; /* likewise */
	struct seal_names names;
	unsigned int nr_bad_copies; /* of the above, with a good twin */

	struct base_identity base_identity; /* if super.has_base */
	struct base base;		    /* open when serving */
	bool base_touched;		    /* its mtime has changed, its digest has not */
	const struct store *owned_base;	    /* of @base, when it is to be punched; or NULL */
	struct extents base_extents;	    /* of the disk, in memory, if map.config says so */
	uint64_t *base_bounds;		    /* their memory ... */
	uint32_t *base_starts;
	uint64_t base_extents_digest; /* as in the superblock */

	struct keyring_keys *keys; /* NULL: locked, or revoked */
	unsigned int key_slot;	   /* that opened it */

	struct disk disk;     /* what requests see */
	void *entries_memory; /* of its map; mapped, if large */
	int direct_fd;	      /* map.config.data_fd, if map.config.direct */
	struct inbox inbox;
	struct lane lane; /* of the opening and closing thread */
	struct lane *only_lane;
	struct rewrite rewrite;

	/* The session. */
	const struct xts_ops *xts;
	struct dirty_store *dirty_store;
	void *dirty_memory;
	_Atomic bool started;
	bool sync_failed;	       /* an fdatasync of opening or closing has */
	uint64_t nr_recovered_records; /* merged from the dirty file of a killed daemon */
	uint64_t nr_damaged_blocks;    /* found by recovery */
};

/* What image_start() needs beside the image. */
struct image_session {
	struct dirty_store *dirty_store;
	uint8_t boot_id[SEAL_UUID_BYTES];
	bool accept_loss; /* --accept-loss */
	const struct xts_ops *xts;
};

/*
 * @store: open and locked; the image owns it from here, also on failure.
 * @path is copied. @writable: it will be written to; if not, image_start() takes
 * a clean one only, and begins no session that would have to be ended.
 * *ret_image: image_free() it.
 */
int MUST_CHECK image_load(struct store *store, const char *path, struct ring *ring, bool writable,
			  struct image **ret_image, struct problem *problem);

/* Accepts NULL and half-open images; always returns NULL. Ends no session. */
struct image *image_free(struct image *image);

int MUST_CHECK image_unlock(struct image *image, const struct key_secret *const *secrets,
			    unsigned int nr_secrets, struct problem *problem);

/*
 * The same, of an image whose keys may be revoked: image_unlock() refuses such a
 * one with -EKEYREJECTED. Only to be asked on behalf of image/revoke.h.
 */
int MUST_CHECK image_unlock_revoked(struct image *image, const struct key_secret *const *secrets,
				    unsigned int nr_secrets, struct problem *problem);

/*
 * Let clients' reads and writes of planes go by @fd, the image's own file opened
 * once more with O_DIRECT; owned, also on failure. After image_load(), before any
 * request. Returns 0, or with *problem: -EINVAL: the file system does not take
 * single sectors (of 512 bytes) that way; -ESTALE: another file.
 */
int MUST_CHECK image_use_direct(struct image *image, int fd, struct problem *problem);

/*
 * Take the open file @fd (found by base_identity_find() at @path) for the base,
 * once it and its parents, which @opener opens, have been held against what was
 * recorded. @fd is owned, also on failure; it is writable when the image owns its
 * base and is writable itself: the base is then adopted, if it has not been yet.
 */
int MUST_CHECK image_attach_base(struct image *image, int fd, const char *path,
				 const struct base_opener *opener, struct problem *problem);

int MUST_CHECK image_start(struct image *image, const struct image_session *session,
			   struct problem *problem);

/* A lane for a worker; @ring, @inbox, @notify and @worker are set by the caller. */
int MUST_CHECK image_lane_init(struct image *image, struct lane *lane, const struct xts_ops *xts);
void image_lane_done(struct lane *lane);

/*
 * The key of plane @value, which the image has got since, for @lane; nothing if
 * that knows it or the plane is plain. On the lane's thread. Allocates.
 * Returns 0, -ENOMEM, -EIO or -ENOKEY.
 */
int MUST_CHECK image_lane_learn(struct image *image, struct lane *lane, uint8_t value);

/* Forget the keys of planes that are no more, a bit of @gone each. On the lane's thread. */
void image_lane_forget(struct lane *lane, uint32_t gone);

/* What the current plane is to be. */
enum image_target {
	IMAGE_TARGET_PLAIN,
	IMAGE_TARGET_SEALED,	/* under the newest key that a plane has */
	IMAGE_TARGET_NEW_PLANE, /* sealed, under a new key */
};

/*
 * Make another plane the current one, durably: one that there is, or else a
 * new one. Between map_switch_begin(), whose waiter has been woken, and
 * map_switch_end(image->super.current_plane), which is the caller's also on
 * failure. Only the image's own lane learns a new key: image_lane_learn(). Blocks,
 * on the thread of that lane; other operations may complete meanwhile.
 * Returns 0, also when nothing had to change. -ENOSPC: no plane or key is free,
 * or no space; -EFBIG: the file would be larger than its file system can hold:
 * nothing has changed. Anything else fails the export: what is durable of the
 * change is unknown until the image is opened again.
 */
int MUST_CHECK image_switch(struct image *image, enum image_target target, uint64_t now_s,
			    struct problem *problem);

/*
 * End the session: commit, sweep, make the slots equal, mark clean. Nothing may
 * be in flight; lanes other than the image's own are gone. Of a revoked image the
 * session has ended already.
 * Returns 0, or -EIO: the image stays marked unclean.
 */
int MUST_CHECK image_stop(struct image *image, struct problem *problem);

/*
 * Entries of block @index for a report, from memory or from the image.
 * @ring: of the calling thread. @mac: NULL: not checked.
 * Returns 0, or -EUCLEAN: the block is damaged, or -EIO.
 */
int MUST_CHECK image_read_block(struct image *image, struct ring *ring, struct mac_ctx *mac,
				uint64_t index, uint8_t ret_body[SEAL_BLOCK_BODY_BYTES]);

/* Inside image/: */

/*
 * After an unclean close, before anything is believed: bring to the disk what a
 * dead daemon left in the cache, and read again what the medium holds.
 * Returns 0, -EUCLEAN, or what fdatasync said: the image must then not be used.
 */
int MUST_CHECK image_settle_cache(struct image *image, struct problem *problem);

/* Blocking I/O on the image through its ring. 0 or a negative errno. */
int MUST_CHECK image_pread(struct image *image, uint64_t offset_bytes, void *bytes, uint32_t nr);
int MUST_CHECK image_pwrite(struct image *image, uint64_t offset_bytes, const void *bytes,
			    uint32_t nr);
int MUST_CHECK image_sync(struct image *image);

/*
 * Set generation, MAC and CRC of image->super and write both copies, one after
 * the other, the one that counts last: it may be the only whole one, and at any
 * moment one of them is whole and true.
 */
int MUST_CHECK image_write_super(struct image *image);

/* The second half of that: image->super has its MAC. */
int MUST_CHECK image_put_super(struct image *image);

/*
 * start.c: copy each slot that counts over its twin where they differ, durably.
 * Needs no key; no round may be under way. 0 or a negative errno.
 */
int MUST_CHECK image_equalise(struct image *image);

/*
 * start.c: of an image whose map is in memory and all durable, begin another
 * session, as image_start() does. Returns 0, or a negative errno with *problem;
 * -EIO: what is durable of it is unknown.
 */
int MUST_CHECK image_start_again(struct image *image, struct problem *problem);

/* The same for image->keyring. */
int MUST_CHECK image_write_keyring(struct image *image);

/*
 * Run what has come for the image's own lane, and wait for something to complete
 * if that was nothing. 0 or a negative errno.
 */
int MUST_CHECK image_turn(struct image *image);
/* Run the image's lane until a FLUSH is through. 0 or -EIO. */
int MUST_CHECK image_flush(struct image *image);
/* ... until nothing is dirty, committing or sweeping. */
int MUST_CHECK image_settle(struct image *image);

/*
 * switch.c: wipe keys that no plane names from the keyring and, durably, from the
 * image: of a switch that a crash cut short, or of planes that are gone. 0 or a
 * negative errno; nothing is written when there are none.
 */
int MUST_CHECK image_drop_unnamed_keys(struct image *image);

/*
 * counts.c. Find the extents of the base, which is open, for map.config; there are
 * none afterwards when they are too many, or take too long, or cannot be read.
 */
void image_find_base_extents(struct image *image);
/* Does image->super carry counts, and are they of it? */
bool image_has_counts(const struct image *image);
/* From image->super to the map, if there are any, and back, or none. */
void image_load_counts(struct image *image);
void image_store_counts(struct image *image);
/* Read all map blocks that are not in memory, and count; or only if that must be. */
void image_count(struct image *image);
void image_count_if_needed(struct image *image);

/*
 * recover.c: punch all that no entry names. Returns 0 also when the file system
 * cannot punch, or has not the space to: map.punch_failed is then set.
 */
int MUST_CHECK image_sweep(struct image *image);

/* recover.c: after an unclean close. @dirty: of the killed daemon, or NULL. */
int MUST_CHECK image_recover(struct image *image, const struct dirty_file *dirty,
			     struct problem *problem);

#endif
