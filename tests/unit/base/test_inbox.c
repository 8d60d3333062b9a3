/* SPDX-License-Identifier: MIT */
#include "base/inbox.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { SENDERS = 4, LETTERS = 20000 };

struct letter {
	struct inbox_item item;
	int sender, number;
};

Test(inbox, gives_items_back_oldest_first)
{
	struct inbox inbox;
	struct inbox_item items[3];
	struct inbox_item *got;

	inbox_init(&inbox);
	cr_expect_null(inbox_take_all(&inbox));
	cr_expect(inbox_push(&inbox, &items[0]), "was empty");
	cr_expect_not(inbox_push(&inbox, &items[1]));
	cr_expect_not(inbox_push(&inbox, &items[2]));

	got = inbox_take_all(&inbox);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(got, &items[i]);
		got = got->next;
	}
	cr_expect_null(got);
	cr_expect(inbox_push(&inbox, &items[1]), "is empty again");
	cr_expect_eq(inbox_take_all(&inbox), &items[1]);
}

static struct inbox shared;
static struct letter letters[SENDERS][LETTERS];
static _Atomic long nr_wakes;

static void *send_letters(void *arg)
{
	struct letter *mine = arg;

	for (int i = 0; i < LETTERS; i++) {
		if (inbox_push(&shared, &mine[i].item))
			atomic_fetch_add(&nr_wakes, 1);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static int next_number[SENDERS];
static long nr_got;

static void take_letter(struct inbox_item *item)
{
	struct letter *letter = CONTAINER_OF(item, struct letter, item);

	if (letter->number != next_number[letter->sender])
		cr_assert_fail("sender %d: %d instead of %d", letter->sender, letter->number,
			       next_number[letter->sender]);
	next_number[letter->sender]++;
	nr_got++;
}

Test(inbox, keeps_each_senders_order_and_wakes_once_per_batch, .timeout = 60)
{
	pthread_t threads[SENDERS];
	long nr_batches = 0;

	inbox_init(&shared);
	for (int s = 0; s < SENDERS; s++)
		for (int i = 0; i < LETTERS; i++)
			letters[s][i] = (struct letter){ { NULL, take_letter }, s, i };
	for (int s = 0; s < SENDERS; s++)
		cr_assert_eq(pthread_create(&threads[s], NULL, send_letters, letters[s]), 0);

	while (nr_got < (long)SENDERS * LETTERS) {
		struct inbox_item *item = inbox_take_all(&shared);

		if (item)
			nr_batches++;
		while (item) {
			struct inbox_item *next = item->next;

			item->deliver(item);
			item = next;
		}
	}
	for (int s = 0; s < SENDERS; s++)
		pthread_join(threads[s], NULL);
	cr_expect_eq(nr_wakes, nr_batches, "%ld wakes, %ld batches", nr_wakes, nr_batches);
	cr_expect_null(inbox_take_all(&shared));
}
