/* SPDX-License-Identifier: MIT */
/*
 * A stack of which the owner always takes the whole. Since nobody ever takes a
 * single item, an item that leaves and comes back cannot mislead the exchange.
 */
#include "base/inbox.h"

#include <stdatomic.h>

bool inbox_push(struct inbox *inbox, struct inbox_item *item)
{
	struct inbox_item *newest = atomic_load_explicit(&inbox->newest, memory_order_relaxed);

	/*
	 * Released by the exchange: the owner may free @item before this returns. And in
	 * one order with the owner's going to sleep: inbox_has_items().
	 */
	do {
		item->next = newest;
	} while (!atomic_compare_exchange_weak_explicit(
		&inbox->newest, &newest, item, memory_order_seq_cst, memory_order_relaxed));
	return newest == NULL;
}

struct inbox_item *inbox_take_all(struct inbox *inbox)
{
	struct inbox_item *newest =
		atomic_exchange_explicit(&inbox->newest, NULL, memory_order_acquire);
	struct inbox_item *oldest = NULL;

	while (newest) {
		struct inbox_item *older = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = older;
	}
	return oldest;
}
