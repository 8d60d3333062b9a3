/* SPDX-License-Identifier: MIT */
/* The disk as it was at one instant: see moment.h. */
#include "request/moment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/wrap.h"

static uint64_t first_sector_of(uint64_t chunk)
{
	return chunk * MOMENT_CHUNK_SECTORS;
}

static void set_state(struct moment *moment, uint64_t chunk, enum moment_state state)
{
	atomic_store(&moment->touched[chunk / MOMENT_GROUP_CHUNKS], true);
	atomic_store(&moment->states[chunk], (uint8_t)state);
}

/* May all of the chunks [first, end) be changed? */
static bool may_change(const struct moment *moment, uint64_t first, uint64_t end)
{
	while (first < end && moment_look(moment, first) >= MOMENT_IN_BUFFER)
		first++;
	return first == end;
}

/* ---- keys ---- */

static int init_keys(struct moment *moment, const struct xts_ops *ops)
{
	struct xts_key master;
	int r;

	moment->xts = calloc(moment->disk->nr_tib, sizeof(*moment->xts));
	if (!moment->xts)
		return -ENOMEM;
	r = random_private(&master, sizeof(master));
	for (uint64_t tib = 0; tib < moment->disk->nr_tib && r == 0; tib++) {
		struct xts_key key;

		r = xts_key_of_tib(&master, tib, &key);
		if (r == 0)
			r = xts_init(&moment->xts[tib], ops, &key);
		explicit_bzero(&key, sizeof(key));
	}
	explicit_bzero(&master, sizeof(master));
	return r;
}

static void wipe_keys(struct moment *moment)
{
	if (!moment->xts)
		return;
	for (uint64_t tib = 0; tib < moment->disk->nr_tib; tib++)
		xts_done(&moment->xts[tib]);
	free(moment->xts);
	moment->xts = NULL;
}

static struct xts *xts_of(const struct moment *moment, uint64_t chunk)
{
	return &moment->xts[first_sector_of(chunk) / TIB_SECTORS];
}

/* ---- slots, under the lock ---- */

static void free_slot(struct moment *moment, struct moment_slot *slot)
{
	slot->busy = false;
	slot->next = moment->free;
	moment->free = slot;
	moment->nr_busy--;
	moment->nr_freed++;
	/* Not for each: all who are in line look again. */
	if (MOMENT_SLOTS_MAX - moment->nr_busy >= MOMENT_ROOM_MIN)
		waiter_line_wake(&moment->room_waiters, 0);
}

static void give_up(struct moment *moment, int error)
{
	if (moment->error == 0)
		atomic_store(&moment->error, error);
	for (unsigned int i = 0; i < MOMENT_SLOTS_MAX; i++)
		waiter_line_wake(&moment->slots[i].waiters, 0);
	waiter_line_wake(&moment->room_waiters, 0);
	wipe_keys(moment);
}

/* ---- on the way to the scratch file ---- */

static bool is_zero(const uint8_t *data, size_t nr_bytes)
{
	return data[0] == 0 && memcmp(data, data + 1, nr_bytes - 1) == 0;
}

static void saved(struct ring_op *op, int result)
{
	struct moment_slot *slot = CONTAINER_OF(op, struct moment_slot, op);
	struct moment *moment = slot->moment;

	pthread_mutex_lock(&moment->lock);
	if (result < 0)
		give_up(moment, result);
	else
		set_state(moment, slot->chunk, MOMENT_IN_SCRATCH);
	free_slot(moment, slot);
	pthread_mutex_unlock(&moment->lock);
}

/* Under the lock. Returns whether the slot's operation is to be submitted. */
static bool keep_loaded(struct moment *moment, struct moment_slot *slot)
{
	const uint32_t nr_sectors = moment_chunk_sectors(moment, slot->chunk);
	const bool zero = is_zero(slot->data, sectors_to_bytes(nr_sectors));

	if (moment->error == 0) {
		set_state(moment, slot->chunk, zero ? MOMENT_ZERO : MOMENT_IN_BUFFER);
		waiter_line_wake(&slot->waiters, 0);
	}
	if (moment->error || zero) {
		free_slot(moment, slot);
		return false;
	}
	xts_encrypt(xts_of(moment, slot->chunk), first_sector_of(slot->chunk), nr_sectors,
		    slot->data);
	slot->op = (struct ring_op){
		.kind = RING_WRITE,
		.fd = moment->scratch_fd,
		/* Nobody knows what it lies on: not on a thread that serves clients. */
		.direct = true,
		.offset_bytes = sectors_to_bytes(first_sector_of(slot->chunk)),
		.data = slot->data,
		.bytes = (uint32_t)sectors_to_bytes(nr_sectors),
		.done = saved,
	};
	return true;
}

static void loaded(struct request *request)
{
	struct moment_slot *slot = CONTAINER_OF(request, struct moment_slot, request);
	struct moment *moment = slot->moment;
	bool save = false;

	pthread_mutex_lock(&moment->lock);
	if (request->error) {
		give_up(moment, request->error);
		free_slot(moment, slot);
	} else {
		save = keep_loaded(moment, slot);
	}
	pthread_mutex_unlock(&moment->lock);
	if (save)
		ring_submit(request->lane->ring, &slot->op);
}

static void take_slot(struct moment *moment, struct lane *lane, uint64_t chunk)
{
	struct moment_slot *slot = moment->free;

	moment->free = slot->next;
	moment->nr_busy++;
	slot->busy = true;
	slot->chunk = chunk;
	slot->request.lane = lane;
	slot->request.op = REQ_READ;
	slot->request.first_sector = first_sector_of(chunk);
	slot->request.nr_sectors = moment_chunk_sectors(moment, chunk);
	slot->request.data = slot->data;
	slot->request.done = loaded;
	set_state(moment, chunk, MOMENT_BUSY);
}

/* ---- who is about to change something ---- */

/* Begin with as many of the chunks [first, end) as there are slots; a list of those taken. */
static struct moment_slot *take_slots(struct moment *moment, struct lane *lane, uint64_t first,
				      uint64_t end)
{
	struct moment_slot *taken = NULL;

	for (; first < end && moment->free; first++) {
		struct moment_slot *slot = moment->free;

		if (moment_look(moment, first) != MOMENT_ON_DISK)
			continue;
		take_slot(moment, lane, first);
		slot->next = taken;
		taken = slot;
	}
	return taken;
}

/* For one of the chunks that is being read, or else for a slot. */
static void stand_in_line(struct moment *moment, struct lane *lane, uint64_t first, uint64_t end,
			  struct waiter *waiter)
{
	struct waiter_line *line = &moment->room_waiters;

	for (unsigned int i = 0; i < MOMENT_SLOTS_MAX; i++) {
		struct moment_slot *slot = &moment->slots[i];

		if (slot->busy && slot->chunk >= first && slot->chunk < end &&
		    moment_look(moment, slot->chunk) == MOMENT_BUSY)
			line = &slot->waiters;
	}
	waiter->lane = lane;
	waiter_line_add(line, waiter);
}

int moment_keep(struct moment *moment, struct lane *lane, uint64_t first_sector,
		uint64_t nr_sectors, struct waiter *waiter)
{
	const uint64_t first = first_sector / MOMENT_CHUNK_SECTORS;
	const uint64_t end = (first_sector + nr_sectors - 1) / MOMENT_CHUNK_SECTORS + 1;
	struct moment_slot *taken = NULL;
	int r = 0;

	/* Most often: the client has been here before. */
	if (may_change(moment, first, end))
		return 0;
	pthread_mutex_lock(&moment->lock);
	if (moment->error == 0 && !may_change(moment, first, end)) {
		taken = take_slots(moment, lane, first, end);
		stand_in_line(moment, lane, first, end, waiter);
		r = 1;
	}
	pthread_mutex_unlock(&moment->lock);
	/* May be done before it returns, which takes the lock. */
	while (taken) {
		struct moment_slot *slot = taken;

		taken = slot->next;
		req_start(&slot->request);
	}
	return r;
}

/* ---- who exports ---- */

int moment_give(struct moment *moment, uint64_t chunk, enum moment_state *ret_state)
{
	int r;

	pthread_mutex_lock(&moment->lock);
	r = moment->error;
	*ret_state = moment_look(moment, chunk);
	if (r == 0 && *ret_state == MOMENT_ON_DISK)
		set_state(moment, chunk, MOMENT_GIVEN);
	pthread_mutex_unlock(&moment->lock);
	return r;
}

int moment_unseal(struct moment *moment, uint64_t chunk, uint8_t *data)
{
	int r;

	pthread_mutex_lock(&moment->lock);
	r = moment->error;
	if (r == 0)
		xts_decrypt(xts_of(moment, chunk), first_sector_of(chunk),
			    moment_chunk_sectors(moment, chunk), data);
	pthread_mutex_unlock(&moment->lock);
	return r;
}

/* ---- the beginning and the end ---- */

void moment_give_up(struct moment *moment, int error)
{
	pthread_mutex_lock(&moment->lock);
	give_up(moment, error);
	pthread_mutex_unlock(&moment->lock);
}

void moment_tick(const struct disk *disk, uint64_t now_ms)
{
	struct moment *moment = atomic_load(&disk->moment);

	if (!moment)
		return;
	pthread_mutex_lock(&moment->lock);
	if (moment->nr_freed != moment->nr_freed_seen || !moment->room_waiters.first) {
		moment->nr_freed_seen = moment->nr_freed;
		moment->moved_ms = now_ms;
	} else if (now_ms >= moment->moved_ms + MOMENT_STALL_MS) {
		give_up(moment, -ETIME);
	}
	pthread_mutex_unlock(&moment->lock);
}

bool moment_is_idle(struct moment *moment)
{
	bool idle;

	pthread_mutex_lock(&moment->lock);
	idle = moment->nr_busy == 0;
	pthread_mutex_unlock(&moment->lock);
	return idle;
}

int moment_init(struct moment *moment, struct disk *disk, const struct xts_ops *ops, int scratch_fd,
		_Atomic uint8_t *states)
{
	int r;

	moment->disk = disk;
	moment->scratch_fd = scratch_fd;
	moment->nr_chunks = moment_nr_chunks(disk);
	moment->states = states;
	moment->touched =
		calloc(moment->nr_chunks / MOMENT_GROUP_CHUNKS + 1, sizeof(*moment->touched));
	r = moment->touched ? init_keys(moment, ops) : -ENOMEM;
	if (r < 0) {
		wipe_keys(moment);
		free(moment->touched);
		moment->disk = NULL;
		return r;
	}
	pthread_mutex_init(&moment->lock, NULL);
	for (unsigned int i = 0; i < MOMENT_SLOTS_MAX; i++) {
		struct moment_slot *slot = &moment->slots[i];

		slot->moment = moment;
		slot->data = moment->data[i];
		slot->next = moment->free;
		moment->free = slot;
	}
	return 0;
}

void moment_done(struct moment *moment)
{
	if (!moment->disk)
		return;
	wipe_keys(moment);
	free(moment->touched);
	pthread_mutex_destroy(&moment->lock);
}
