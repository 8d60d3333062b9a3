/* SPDX-License-Identifier: MIT */
/*
 * One request, from the gate to the reply.
 *
 * The owner (a connection, or a test) takes a slot, fills in the first part,
 * lends a buffer of req_buffer_bytes() and calls req_start(). @done is called
 * once, on the lane's thread, perhaps before req_start() returns. Until then
 * slot and buffer are the request's.
 */
#ifndef REQUEST_REQUEST_H
#define REQUEST_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "map/map.h"
#include "request/disk.h"
#include "request/op.h"
#include "sealblk/nbd_wire.h"

/* A part of a READ: sectors in one state and one place, and the ring operation that loads them. */
struct req_part {
	struct ring_op op;
	struct request *request;
	struct map_run run;
	struct base_place place; /* a plane's sectors have one, too */
};

/* What BLOCK_STATUS is asked about; also the order of the contexts' chunks. */
enum req_context { REQ_CONTEXT_ALLOCATION, REQ_CONTEXT_ENCRYPTION, REQ_CONTEXTS };

struct request {
	/* Filled in by the owner, then read only (but see step_claim). */
	struct lane *lane;
	enum req_op op;
	uint64_t first_sector; /* the gate has seen to it that the range is */
	uint64_t nr_sectors;   /* on the disk; 0: nothing is done */
	bool fua;
	bool no_hole;		   /* WRITE_ZEROES: write them, keep the space */
	bool wide_extents;	   /* BLOCK_STATUS: of extended headers */
	bool one_extent;	   /* BLOCK_STATUS: NBD_CMD_FLAG_REQ_ONE */
	bool rewrite;		   /* WRITE: not the client's data, but what is there: ... */
	uint32_t moved_entries;	   /* ... if its entry is one of these (map_rewrite_begin()) */
	bool wanted[REQ_CONTEXTS]; /* BLOCK_STATUS */
	uint8_t *data;		   /* the lent buffer */
	void (*done)(struct request *request);

	/* The result, for @done. */
	int error; /* 0 or a negative errno; the first one */
	/* BLOCK_STATUS: extents in @data from here on, ready for the wire. */
	uint8_t *extents[REQ_CONTEXTS];
	uint32_t nr_extents[REQ_CONTEXTS];

	/* The request's own. */
	unsigned int step;     /* index into its road */
	bool entered;	       /* is in an epoch */
	unsigned int parity;   /* of that epoch */
	bool first_write;      /* map_write_begin() done, map_write_end() due */
	uint8_t entry;	       /* WRITE: the plane written to */
	uint64_t at_sector;    /* the part of the range under way ... */
	uint64_t at_sectors;   /* ... and its length */
	unsigned int nr_looks; /* TRIM, WRITE_ZEROES: at blocks of the map */
	unsigned int context;  /* BLOCK_STATUS: being walked; its last extent so far: */
	uint64_t extent_bytes;
	uint32_t extent_state;
	unsigned int nr_parts;
	unsigned int nr_pending; /* ring operations not yet done, plus one while submitting */
	struct waiter waiter;
	struct req_part parts[REQ_RUNS_MAX];
};

/* How long a buffer such a request needs; 0: none. */
uint64_t req_buffer_bytes(enum req_op op, bool no_hole, uint64_t nr_sectors);

/* While the keys of the disk are revoked the request fails at once, with -EPERM. */
void req_start(struct request *request);

/* For the roads' steps: see roads.c. */
enum req_step_result {
	STEP_NEXT,   /* done: go on; with an error, only to the steps that clean up */
	STEP_WAIT,   /* req_continue() or req_woken() will be called */
	STEP_REPEAT, /* the range is served in rounds: back to where the round begins */
};

/* What was waited for is there: the step is done. */
void req_continue(struct request *request);

/*
 * For request->waiter.wake: what was waited for is there, and the step is tried
 * again; or it failed, and so does the request.
 */
void req_woken(struct waiter *waiter);

/*
 * For steps that go over a range of any length, REQ_TURN_RUNS at a time. Called off:
 * the keys or the server's time are gone, and the error is noted. Turns: returns
 * true when others come first; the step returns STEP_WAIT, and is run again.
 */
bool req_is_called_off(struct request *request);
bool req_takes_turns(struct request *request);

/* The step cannot do its work: note the first error. Returns STEP_NEXT. */
enum req_step_result req_failed(struct request *request, int error);

/* read.c, write.c, keep.c, rewrite.c, status.c */
enum req_step_result step_enter(struct request *request);
enum req_step_result step_map(struct request *request);
enum req_step_result step_load(struct request *request);
enum req_step_result step_decrypt(struct request *request);
enum req_step_result step_next_round(struct request *request);
enum req_step_result step_leave(struct request *request);
enum req_step_result step_advise(struct request *request);
enum req_step_result step_whole(struct request *request);
enum req_step_result step_fill(struct request *request);
enum req_step_result step_admit(struct request *request);
enum req_step_result step_keep(struct request *request);
enum req_step_result step_encrypt(struct request *request);
enum req_step_result step_store(struct request *request);
enum req_step_result step_settle(struct request *request);
enum req_step_result step_claim(struct request *request);
enum req_step_result step_reseal(struct request *request);
enum req_step_result step_zero(struct request *request);
enum req_step_result step_durable(struct request *request);
enum req_step_result step_durable_if_fua(struct request *request);
enum req_step_result step_status(struct request *request);

/*
 * keep.c: of the @nr_sectors from @at_sector on, which are to read as zeros, how many may
 * be changed now (*ret_sectors)? Inside an epoch, as step_keep. Returns 0, or 1: wait,
 * then ask again.
 */
int MUST_CHECK req_keep_zeroed(struct request *request, uint64_t nr_sectors, uint64_t *ret_sectors);

#endif
