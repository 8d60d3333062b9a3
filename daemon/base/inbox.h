/* SPDX-License-Identifier: MIT */
/*
 * Messages to the thread that owns something: many threads push, one takes.
 * Lock-free; the item is a member of the sender's own struct, so that nothing
 * is allocated. Never blocks.
 */
#ifndef BASE_INBOX_H
#define BASE_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/*
 * From inbox_push() until @deliver is called the item belongs to the inbox.
 * @deliver: run by the owner on its thread; may free or push the item again.
 */
struct inbox_item {
	struct inbox_item *next; /* the inbox's own */
	void (*deliver)(struct inbox_item *item);
};

struct inbox {
	_Atomic(struct inbox_item *) newest; /* linked to ever older items */
};

/* Before any other thread knows of @inbox. */
static inline void inbox_init(struct inbox *inbox)
{
	inbox->newest = NULL;
}

/*
 * Any thread. Returns true when the inbox was empty: the caller must then wake
 * the owner, once; otherwise somebody already has, or is about to. What the
 * caller wrote before is seen by whoever takes the item.
 */
bool inbox_push(struct inbox *inbox, struct inbox_item *item) MUST_CHECK;

/*
 * The owner's thread. If it says first (in an atomic, sequentially consistent) that
 * it is going to sleep, then either this returns true, or whoever pushes next sees that.
 */
static inline bool inbox_has_items(struct inbox *inbox)
{
	return atomic_load(&inbox->newest) != NULL;
}

/*
 * The owner's thread. Everything pushed so far, oldest first, linked through
 * @next, or NULL. Read @next before calling @deliver, which may free the item.
 */
struct inbox_item *inbox_take_all(struct inbox *inbox) MUST_CHECK;

#endif
