/* SPDX-License-Identifier: MIT */
/* The model of a disk: see disk.h. */
#include "model/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

enum {
	NONE = 0,	 /* the end of a list */
	TORN_BYTES = 16, /* what a processor copies at once, and a block of AES */
};

/* One value of one sector. */
struct node {
	uint64_t done_at; /* its write was acknowledged or lost; NEVER: in flight */
	uint64_t dead_at; /* NEVER: alive */
	uint32_t value;
	uint32_t next;
};

static struct node *nodes;
static uint32_t nr_nodes, first_free, *heads;
static const uint8_t *base_bytes;
static uint64_t now, oldest_sent;

uint64_t disk_now(void)
{
	return ++now;
}

static uint32_t take_node(void)
{
	uint32_t taken = first_free;

	if (taken == NONE) {
		uint32_t more = nr_nodes ? 2 * nr_nodes : 1 << 18;

		nodes = realloc(nodes, more * sizeof(*nodes));
		if (!nodes)
			abort();
		for (uint32_t i = nr_nodes ? nr_nodes : 1; i < more; i++) {
			nodes[i].next = first_free;
			first_free = i;
		}
		nr_nodes = more;
		taken = first_free;
	}
	first_free = nodes[taken].next;
	return taken;
}

static struct node *add(uint64_t sector, uint32_t value, uint64_t done_at)
{
	uint32_t taken = take_node();

	nodes[taken] = (struct node){ done_at, NEVER, value, heads[sector] };
	heads[sector] = taken;
	return &nodes[taken];
}

void disk_init(const uint8_t *base, uint64_t nr_sectors)
{
	base_bytes = base;
	heads = calloc(nr_sectors, sizeof(*heads));
	if (!heads)
		abort();
	for (uint64_t s = 0; s < nr_sectors; s++)
		add(s, VALUE_BASE, 0);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15u;
	return x ^ x >> 29;
}

void disk_fill(uint64_t sector, uint32_t value, uint8_t bytes[SECTOR])
{
	const uint64_t name = (uint64_t)value << 32 | sector;

	if (value == VALUE_BASE) {
		memcpy(bytes, base_bytes + sector * SECTOR, SECTOR);
		return;
	}
	memset(bytes, 0, SECTOR);
	if (value < VALUE_WRITTEN)
		return;
	/* The first word tells where it came from. */
	memcpy(bytes, &name, sizeof(name));
	for (uint64_t i = 1; i < SECTOR / sizeof(name); i++)
		memcpy(bytes + i * sizeof(name), &(uint64_t){ mix(name + (i << 57)) },
		       sizeof(name));
}

void disk_forget_before(uint64_t time)
{
	oldest_sent = time;
}

static void prune(uint64_t sector)
{
	uint32_t *link = &heads[sector];

	while (*link != NONE) {
		uint32_t at = *link;

		if (nodes[at].dead_at > oldest_sent) {
			link = &nodes[at].next;
			continue;
		}
		*link = nodes[at].next;
		nodes[at].next = first_free;
		first_free = at;
	}
}

void disk_write_sent(uint64_t sector, uint64_t nr_sectors, uint32_t value)
{
	for (uint64_t s = sector; s < sector + nr_sectors; s++) {
		prune(s);
		add(s, value, NEVER);
	}
}

/* The value in flight: TRIMs bring the same one, and then the newest stands for all of them. */
static struct node *in_flight(uint64_t sector, uint32_t value)
{
	for (uint32_t i = heads[sector]; i != NONE; i = nodes[i].next)
		if (nodes[i].value == value && nodes[i].done_at == NEVER)
			return &nodes[i];
	abort();
}

void disk_write_done(uint64_t sector, uint64_t nr_sectors, uint32_t value, uint64_t sent_at)
{
	for (uint64_t s = sector; s < sector + nr_sectors; s++) {
		in_flight(s, value)->done_at = now;
		for (uint32_t i = heads[s]; i != NONE; i = nodes[i].next)
			if (nodes[i].done_at < sent_at && nodes[i].dead_at == NEVER)
				nodes[i].dead_at = now;
	}
}

void disk_write_lost(uint64_t sector, uint64_t nr_sectors, uint32_t value)
{
	for (uint64_t s = sector; s < sector + nr_sectors; s++)
		in_flight(s, value)->done_at = now;
}

/* ---- checking ---- */

static bool was_alive(const struct node *node, uint64_t since)
{
	return node->dead_at > since;
}

/* Had no write of @sector been in flight since? */
static bool was_quiet(uint64_t sector, uint64_t since)
{
	for (uint32_t i = heads[sector]; i != NONE; i = nodes[i].next)
		if (nodes[i].done_at >= since ||
		    (nodes[i].dead_at != NEVER && nodes[i].dead_at > since))
			return false;
	return true;
}

/* Do the bytes @first to @first + @nr_bytes of the sector match a value it may have? */
static bool matches(uint64_t sector, const uint8_t *bytes, unsigned int first,
		    unsigned int nr_bytes, uint64_t since)
{
	uint8_t wanted[SECTOR];

	for (uint32_t i = heads[sector]; i != NONE; i = nodes[i].next) {
		if (!was_alive(&nodes[i], since))
			continue;
		disk_fill(sector, nodes[i].value, wanted);
		if (memcmp(bytes + first, wanted + first, nr_bytes) == 0)
			return true;
	}
	return false;
}

/* A READ is not atomic against a WRITE at the same time: each of its parts is. */
static bool matches_torn(uint64_t sector, const uint8_t *bytes, uint64_t since)
{
	for (unsigned int at = 0; at < SECTOR; at += TORN_BYTES)
		if (!matches(sector, bytes, at, TORN_BYTES, since))
			return false;
	return true;
}

/* The sector has been seen: what it does not hold it will not hold again by itself. */
static void narrow(uint64_t sector, const uint8_t *bytes)
{
	uint8_t wanted[SECTOR];

	for (uint32_t i = heads[sector]; i != NONE; i = nodes[i].next) {
		disk_fill(sector, nodes[i].value, wanted);
		if (nodes[i].dead_at == NEVER && memcmp(bytes, wanted, SECTOR) != 0)
			nodes[i].dead_at = now;
	}
}

static void tell(uint64_t sector, uint64_t since)
{
	fprintf(stderr, "model: sector %" PRIu64 " may be", sector);
	for (uint32_t i = heads[sector]; i != NONE; i = nodes[i].next)
		if (was_alive(&nodes[i], since))
			fprintf(stderr, " %" PRIu32 "%s", nodes[i].value,
				nodes[i].done_at == NEVER ? " (in flight)" : "");
	fprintf(stderr, " (0 base, 1 zero, 2 stored zero, else a write)\n");
}

static bool check_sector(uint64_t sector, const uint8_t *bytes, uint64_t sent_at)
{
	bool quiet = was_quiet(sector, sent_at);
	uint64_t name;

	if (matches(sector, bytes, 0, SECTOR, sent_at)) {
		if (quiet && nodes[heads[sector]].next != NONE)
			narrow(sector, bytes);
		return true;
	}
	if (!quiet && matches_torn(sector, bytes, sent_at))
		return true;
	memcpy(&name, bytes, sizeof(name));
	tell(sector, sent_at);
	fprintf(stderr,
		"model: but begins with %016" PRIx64 ": write %" PRIu64 " of sector %" PRIu64
		", or neither\n",
		name, name >> 32, name & UINT32_MAX);
	return false;
}

bool disk_check_read(uint64_t sector, uint64_t nr_sectors, const uint8_t *bytes, uint64_t sent_at)
{
	for (uint64_t i = 0; i < nr_sectors; i++)
		if (!check_sector(sector + i, bytes + i * SECTOR, sent_at))
			return false;
	return true;
}

/* A hole of the base says zero, unless its file system knows no holes. */
static bool may_be(uint64_t sector, uint32_t value, uint32_t state)
{
	static const uint8_t zeros[SECTOR];

	if (value == VALUE_BASE)
		return state == STATE_BASE ||
		       (state == STATE_ZERO &&
			memcmp(base_bytes + sector * SECTOR, zeros, SECTOR) == 0);
	return state == (value == VALUE_ZERO ? STATE_ZERO : STATE_SEALED);
}

bool disk_check_state(uint64_t sector, uint64_t nr_sectors, uint32_t state, uint64_t sent_at)
{
	for (uint64_t s = sector; s < sector + nr_sectors; s++) {
		bool found = false;

		for (uint32_t i = heads[s]; i != NONE && !found; i = nodes[i].next)
			found = was_alive(&nodes[i], sent_at) && may_be(s, nodes[i].value, state);
		if (!found) {
			tell(s, sent_at);
			fprintf(stderr,
				"model: but its state is %" PRIu32
				" (0 base, 1 zero, 2 plain, 3 sealed)\n",
				state);
			return false;
		}
	}
	return true;
}
