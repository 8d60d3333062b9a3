/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dm-sealblk's own structures.
 *
 *   target  a line of a table; there may be two of one device, while a table is
 *           swapped                                                      target.c
 *   device  has a name, a node and the bios that wait                    device.c
 *   session one opening of the node: a daemon, its tags and its memory   session.c
 *   tag     a bio at a time, or a command that waits for one             queue.c
 *
 * A bio is in the list @waiting, or under a tag. A command is parked under a tag,
 * or the daemon has it. When a session ends, parked commands go back to it, and
 * bios to the list, in the order in which they came.
 */
#ifndef SHIM_H
#define SHIM_H

#define DM_MSG_PREFIX "sealblk"

#include <linux/bio.h>
#include <linux/cdev.h>
#include <linux/device-mapper.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

#include "parse.h"
#include "sealblk/shim_uapi.h"

/* A bio's, from dm_per_bio_data(). */
struct shim_io {
	struct list_head list; /* in device->waiting */
	u64 order;	       /* of arrival */
};

struct shim_session;

struct shim_device {
	struct device dev;
	struct cdev cdev;

	/* Once the node is there for reading only. */
	char name[SHIM_NAME_BYTES_MAX + 1];
	struct mapped_device *md;
	kuid_t owner; /* who made it */
	sector_t nr_sectors;
	unsigned int queue_depth;
	unsigned int max_io_bytes;
	bool writable;

	struct ratelimit_state complaints; /* of all its daemons; a few of each kind */

	/* Under shim_devices_lock. */
	struct list_head list;
	struct list_head targets;

	/* Changed under shim_sessions_lock and @lock, read under either. */
	struct shim_session *session; /* that has not ended; NULL: none */
	bool gone;		      /* no target is left: nobody opens it any more */

	/* Under @lock, which is never held while somebody else's code runs. */
	spinlock_t lock;
	struct list_head waiting; /* struct shim_io, by order */
	unsigned int nr_waiting;
	unsigned int nr_busy; /* bios under tags */
	u64 next_order;
	u64 nr_done;
	unsigned int nr_sessions; /* that have served */
	bool serving;		  /* the session has fetched */
	bool handing_back;	  /* suspending without flush: nothing waits here */
	bool failing;		  /* the time without a daemon is up */
	unsigned int timeout_s;	  /* 0: for ever */
	unsigned long deadline;	  /* in jiffies */
	struct delayed_work timeout_work;
};

/* Changed under the device's lock. The states in brackets belong to whoever made them. */
enum shim_tag_state {
	SHIM_TAG_FREE,	     /* the daemon may fetch */
	SHIM_TAG_PARKED,     /* @cmd waits for a bio */
	SHIM_TAG_HANDING,    /* (@bio is being copied for the daemon) */
	SHIM_TAG_BUSY,	     /* the daemon has @bio */
	SHIM_TAG_COMMITTING, /* (the daemon's data is being copied to a bio) */
};

struct shim_tag {
	enum shim_tag_state state;
	bool aged; /* was parked when the last renewal began */
	u32 sequence;
	struct io_uring_cmd *cmd;
	struct bio *bio;
	struct list_head parked; /* in session->parked */
};

/* What a daemon does wrong; the table is in session.c. */
enum shim_mistake {
	SHIM_MISTAKE_COMMAND,
	SHIM_MISTAKE_EARLY,
	SHIM_MISTAKE_UNMAPPED,
	SHIM_MISTAKE_TAG,
	SHIM_MISTAKE_TWICE,
	SHIM_MISTAKE_NOTHING,
	SHIM_MISTAKE_STALE,
	SHIM_MISTAKE_RESULT,
	SHIM_MISTAKE_VERSION,
	SHIM_MISTAKE_SIZE,
	SHIM_MISTAKE_READ_ONLY,
	SHIM_MISTAKE_USER,
	SHIM_MISTAKES,
};

/*
 * Owned by the open file; a parked command holds that, too. What the daemon has
 * mapped is this session's alone, so that a daemon that was left behind sees
 * nothing of the next one's.
 */
struct shim_session {
	struct shim_device *device; /* a reference */
	struct shim_request *requests; /* mapped by the daemon, written by us */
	u8 *data;		       /* mapped by the daemon, queue_depth * max_io_bytes */
	struct delayed_work renew_work;
	unsigned long mistakes; /* bits: told of */

	/* Under shim_sessions_lock. */
	fl_owner_t opener; /* its table of files, from SHIM_IOC_START on */

	/* Set once, under the device's lock. */
	bool started;
	bool mapped_requests;
	bool mapped_data;
	bool dead;

	/* Under the device's lock. */
	struct list_head parked; /* tags, the one that waits longest first */
	struct shim_tag tags[];
};

/* A command of the daemon, copied from memory that it may change. */
struct shim_copied_command {
	u16 tag;
	s32 result;
	u32 sequence;
};

extern struct mutex shim_sessions_lock;
extern struct workqueue_struct *shim_workqueue;

/*
 * device.c. The device NAME for @ti, made if there is none. Returns an ERR_PTR and
 * sets ti->error: -EBUSY: it is another mapped device's, or has other numbers.
 */
struct shim_device *shim_device_get(struct dm_target *ti, const struct shim_table *table);
/* With its last target the device goes: parked commands say -ENODEV. */
void shim_device_put(struct shim_device *device, struct dm_target *ti);
int shim_devices_init(void);
void shim_devices_exit(void);

/* node.c */
extern const struct file_operations shim_node_fops;

/* session.c */
struct shim_session *shim_session_new(struct shim_device *device);
/* Nothing of it is under way any more. */
void shim_session_free(struct shim_session *session);
/* Parked commands complete with @result. May be called again. Under shim_sessions_lock. */
void shim_session_end(struct shim_session *session, int result);
/* Logs it, the first time. Returns the errno that goes with it. */
int shim_session_mistake(struct shim_session *session, enum shim_mistake mistake);

/* queue.c: none of it sleeps. */
/* For ->map: returns DM_MAPIO_*. */
int shim_queue_bio(struct shim_device *device, struct bio *bio);
/* The errno for the command's completion, or -EIOCBQUEUED: it is parked. */
int shim_fetch(struct shim_session *session, u16 tag, struct io_uring_cmd *cmd);
int shim_commit(struct shim_session *session, const struct shim_copied_command *command);
/* Give waiting bios what they wait for, or back: after anything that changes who may have them. */
void shim_settle(struct shim_device *device);
/* The bio under @tag waits again, where it stood. Under the device's lock. */
void shim_requeue(struct shim_device *device, struct shim_tag *tag);
/* From now on, and if nobody serves. Under the device's lock. */
void shim_start_timeout(struct shim_device *device);
void shim_timeout_work(struct work_struct *work);

static inline struct shim_io *shim_io_of(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct shim_io));
}

static inline struct bio *shim_bio_of(struct shim_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(struct shim_io));
}

#endif
