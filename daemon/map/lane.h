/* SPDX-License-Identifier: MIT */
/*
 * A lane: what one worker needs to serve one image. Everything in it belongs
 * to the worker's thread, except @epoch, which others read, and @inbox, which
 * others push to.
 */
#ifndef MAP_LANE_H
#define MAP_LANE_H

#include "base/compiler.h"
#include "base/inbox.h"
#include "crypt/mac.h"
#include "crypt/xts.h"
#include "map/epoch.h"
#include "ring/ring.h"

struct disk;
struct lane;
struct waiter;

struct lane {
	struct disk *disk; /* request/disk.h */
	struct ring *ring;
	struct inbox *inbox;		   /* of the worker; shared by its lanes */
	void (*notify)(struct lane *lane); /* the inbox was empty: wake the worker */
	/* Wake @waiter, which has work to do, when others have had a turn; NULL: do it at once. */
	void (*take_turns)(struct lane *lane, struct waiter *waiter);
	void *worker; /* for @notify and @take_turns */
	bool ending;  /* the server has waited long enough: long requests end with ESHUTDOWN */
	struct mac_ctx mac;
	struct epoch_lane epoch;
	struct xts *xts; /* expanded keys: see request/cipher.h; NULL: none */
	/* Requests between req_start() and `done`: written by this lane, read by who drains it. */
	_Atomic uint32_t nr_requests;
	/* Of clients, ever begun: rewriters and sweeps look whether they are there. */
	_Atomic uint64_t nr_begun;
};

/*
 * Somebody who waits for a change of the map: a request, as a rule. It is woken
 * once, on its own lane's thread, from the worker's loop and never from inside
 * the call that woke it; it then looks again.
 */
struct waiter {
	struct inbox_item item;
	struct waiter *next; /* while it stands in a line */
	struct lane *lane;
	int result; /* 0, or why what it waited for failed */
	void (*wake)(struct waiter *waiter);
};

/* A line of waiters, first come first woken. Zeroed is empty. */
struct waiter_line {
	struct waiter *first;
	struct waiter *last;
};

void waiter_line_add(struct waiter_line *line, struct waiter *waiter);

/* Move all of @from behind @to. */
void waiter_line_move(struct waiter_line *to, struct waiter_line *from);

/* Any thread. */
void waiter_wake(struct waiter *waiter, int result);
void waiter_line_wake(struct waiter_line *line, int result);

#endif
