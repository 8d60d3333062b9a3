/* SPDX-License-Identifier: MIT */
/*
 * What may lie in the image's file after a power cut, and the making of it.
 *
 * A write or punch that has been issued may be there or not, each of its sectors
 * on its own, until an fdatasync is through that was issued after its DONE: then
 * it is there for certain. Per sector what was issued last wins. A failed one
 * stays in doubt for good.
 */
#ifndef TESTS_TRACE_MEDIA_H
#define TESTS_TRACE_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/ring.h"
#include "trace/timeline.h"

/* A write or punch whose fate is open. */
struct pending {
	uint32_t issued; /* index of the event; the age */
	uint32_t done;	 /* likewise; 0: in flight */
	bool failed;
	uint64_t id;
	uint64_t first_sector;
	uint32_t nr_sectors;
	const uint8_t *data; /* NULL: zeros */
	uint64_t *digests;   /* of each sector */
};

struct media {
	uint64_t nr_sectors;
	uint64_t nr_metadata; /* of these, the first so many: all before the first plane */
	uint8_t *durable;     /* what is there for certain */
	uint32_t *authors;    /* per sector: index of the event that made it so; 0: the image */
	uint64_t *digests;    /* per sector, of @durable */
	uint64_t *now;	      /* the same; changed while a state is looked at */
	uint64_t digest;      /* of @durable */

	struct pending *pending; /* oldest first */
	uint32_t nr_pending;
	uint32_t room;
	struct {
		uint64_t id;
		uint32_t issued;
	} syncs[64]; /* in flight */
	uint32_t nr_syncs;

	int fd;		   /* the scratch file: @durable, but for ... */
	uint8_t *scratch;  /* (its mapping) */
	uint64_t *touched; /* ... these pages: a bit for each */
};

/* Which of the pending writes are kept. */
enum choice_kind {
	CHOOSE_ALL,	/* what the cache holds: the plain prefix of the trace */
	CHOOSE_NONE,	/* only what was flushed */
	CHOOSE_MASK,	/* bit i of @bits: the i-th oldest */
	CHOOSE_ONE,	/* only number @nth */
	CHOOSE_ALL_BUT, /* all but number @nth */
	CHOOSE_OLDEST,	/* the @nth oldest */
	CHOOSE_NEWEST,	/* the @nth newest: the reverse of the order of issue */
	CHOOSE_RANDOM,	/* by chance */
	CHOOSE_TORN,	/* by chance, some of them in part */
	CHOOSE_DONE,	/* those that have ended: what a kill leaves, as far as is known */
	CHOICES,
};

struct choice {
	enum choice_kind kind;
	uint32_t nth;
	uint64_t bits; /* the mask, or the seed of chance */
};

/* @image: the file before the first session; @scratch_path is made, and replaced if there. */
void media_init(struct media *media, const char *image, const char *scratch_path);

/* Event @index happens. */
void media_advance(struct media *media, const struct event *event, uint32_t index);

/*
 * The daemon was killed or ended, and @bytes is what the file then read as (it
 * is as long as the image): what was in flight has happened as it says there.
 * Returns the first sector that the trace does not explain, or UINT64_MAX.
 */
uint64_t media_settle(struct media *media, const uint8_t *bytes, uint32_t index);

/* How many pending writes are of metadata? The @nth of them (from 0), as index in @pending. */
uint32_t media_nr_metadata(const struct media *media);
uint32_t media_nth_metadata(const struct media *media, uint32_t nth);

/* A number that tells states apart. */
uint64_t media_digest(struct media *media, const struct choice *choice);

/* Let the scratch file be the state of @choice; to be undone by media_restore(). */
void media_build(struct media *media, const struct choice *choice);
void media_restore(struct media *media);

/* The program that opened the scratch file is about to change this range of it. */
void media_touch(struct media *media, uint64_t offset_bytes, uint64_t nr_bytes);

/* Is the scratch file what is durable, to the byte? For finding mistakes of this program. */
bool media_is_restored(const struct media *media);

#endif
