/* SPDX-License-Identifier: MIT */
/*
 * The simulated engine: what becomes of an operation.
 *
 * ring_submit -> engine_submit ... ring_wait -> engine_wait -> execute (once or,
 * when it is short, several times) -> ring_op_advance -> deliver -> op->done
 */
#include "sim/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
	[RING_READ] = "read",	    [RING_WRITE] = "write",	  [RING_FDATASYNC] = "fdatasync",
	[RING_PUNCH] = "punch",	    [RING_ALLOCATE] = "allocate", [RING_ADVISE] = "advise",
	[RING_ACCEPT] = "accept",   [RING_RECV] = "recv",	  [RING_RECVMSG] = "recvmsg",
	[RING_SENDMSG] = "sendmsg", [RING_POLL] = "poll",	  [RING_COMMAND] = "command",
};

/* ---- effects -------------------------------------------------------------- */

struct payload *payload_get(struct payload *payload)
{
	if (payload)
		payload->nr_owners++;
	return payload;
}

void payload_put(struct payload *payload)
{
	if (payload && --payload->nr_owners == 0)
		free(payload);
}

static struct payload *payload_new(const uint8_t *data, size_t bytes)
{
	struct payload *payload = sparse_alloc(sizeof(*payload) + bytes);

	memcpy(payload->bytes, data, bytes);
	payload->nr_owners = 1;
	return payload;
}

const uint8_t *effect_sector(const struct effect *effect, uint64_t sector)
{
	if (!effect->payload)
		return NULL;
	return effect->payload->bytes + effect->payload_at_bytes +
	       sectors_to_bytes(sector - effect->first_sector);
}

void effect_apply(const struct effect *effect, struct sparse *content, uint64_t *bytes)
{
	const uint64_t end = effect->first_sector + effect->nr_sectors;

	if (!effect->payload) {
		sparse_punch(content, effect->first_sector, end);
		return;
	}
	for (uint64_t at = effect->first_sector; at < end; at++)
		sparse_set(content, at, effect_sector(effect, at));
	if (*bytes < sectors_to_bytes(end))
		*bytes = sectors_to_bytes(end);
}

void sim_add_effect(struct sim *sim, const struct effect *effect)
{
	struct sim_file *file = &sim->files[effect->file];

	effect_apply(effect, &file->cache, &file->cache_bytes);
	sim->effects =
		sparse_grow(sim->effects, sim->nr_effects, &sim->room_effects, sizeof(*effect));
	sim->effects[sim->nr_effects] = *effect;
	payload_get(effect->payload);
	sim->nr_effects++;
}

/* Move what is durable, with nothing older in its file that is not, to the medium. */
static void settle_effects(struct sim *sim)
{
	bool blocked[SIM_FILES_MAX] = { false };
	uint32_t nr_left = 0;

	for (uint32_t i = 0; i < sim->nr_effects; i++) {
		const struct effect effect = sim->effects[i];
		struct sim_file *file = &sim->files[effect.file];

		if (effect.durable && !blocked[effect.file]) {
			effect_apply(&effect, &file->medium, &file->medium_bytes);
			payload_put(effect.payload);
			continue;
		}
		blocked[effect.file] = true;
		sim->effects[nr_left++] = effect;
	}
	sim->nr_effects = nr_left;
}

/* Forget that @flight's writes were ever pending, but for those of mask @reached. */
static void cover_effects(struct sim *sim, const struct flight *flight, uint64_t reached)
{
	uint32_t nr_left = 0;
	uint32_t nr_covered = 0;

	for (uint32_t i = 0; i < sim->nr_effects; i++) {
		struct effect effect = sim->effects[i];

		if (effect.file == flight->file && !effect.durable && effect.delivered_at != 0 &&
		    effect.delivered_at < flight->submitted_at) {
			effect.durable = reached >> min_u64(nr_covered, 63) & 1;
			nr_covered++;
			if (!effect.durable) {
				payload_put(effect.payload);
				continue;
			}
		}
		sim->effects[nr_left++] = effect;
	}
	sim->nr_effects = nr_left;
	settle_effects(sim);
}

struct effect flight_rest(const struct flight *flight)
{
	const bool is_write = flight->kind == RING_WRITE;
	const uint64_t bytes = is_write ? flight->bytes : flight->range_bytes;

	return (struct effect){
		.file = flight->file,
		.flight_id = flight->id,
		.first_sector = bytes_to_sectors(flight->offset_bytes + flight->done_bytes),
		.nr_sectors = bytes_to_sectors(bytes - flight->done_bytes),
		.payload = flight->payload,
		.payload_at_bytes = flight->done_bytes,
	};
}

/* ---- faults --------------------------------------------------------------- */

/* Give @flight the first fault that is due for it. */
static void draw_fault(struct sim *sim, struct flight *flight)
{
	for (uint32_t i = 0; i < sim->nr_faults; i++) {
		struct fault_slot *slot = &sim->faults[i];
		const struct sim_fault *fault = &slot->fault;

		if (fault->kind != flight->kind ||
		    (fault->fd != SIM_ANY_FILE && fault->fd != flight->op->fd))
			continue;
		slot->nr_seen++;
		if (flight->has_fault || slot->nr_seen < fault->nth ||
		    (slot->nr_seen > fault->nth && !fault->persistent))
			continue;
		flight->has_fault = true;
		flight->fault = *fault;
	}
}

/* Shorten *@bytes as the fault says. Returns its error when that is due now. */
static int suffer_fault(struct flight *flight, uint32_t *bytes)
{
	struct sim_fault *fault = &flight->fault;

	if (!flight->has_fault)
		return 0;
	if (fault->moved_bytes == 0) {
		flight->has_fault = false;
		return fault->error;
	}
	*bytes = min_u64(*bytes, fault->moved_bytes);
	fault->moved_bytes = 0;
	flight->has_fault = fault->error != 0;
	return 0;
}

/* ---- execution ------------------------------------------------------------ */

static int read_part(struct sim *sim, struct flight *flight, uint32_t bytes)
{
	const struct sim_file *file = &sim->files[flight->file];
	const uint64_t offset_bytes = flight->offset_bytes + flight->done_bytes;

	if (offset_bytes >= file->cache_bytes)
		return 0;
	bytes = min_u64(bytes, file->cache_bytes - offset_bytes);
	sparse_read(&file->cache, offset_bytes, flight->op->data + flight->done_bytes, bytes);
	return bytes;
}

static int write_part(struct sim *sim, struct flight *flight, uint32_t bytes)
{
	struct effect effect = flight_rest(flight);

	sim_require(memcmp(flight->payload->bytes, flight->op->data, flight->bytes) == 0,
		    "the bytes of a write changed while it was in flight");
	effect.nr_sectors = bytes_to_sectors(bytes);
	sim_add_effect(sim, &effect);
	return bytes;
}

static int punch_range(struct sim *sim, struct flight *flight)
{
	const struct effect effect = flight_rest(flight);

	sim_add_effect(sim, &effect);
	return 0;
}

static int sync_file(struct sim *sim, struct flight *flight)
{
	struct sim_file *file = &sim->files[flight->file];
	const struct sim_fault *fault = flight->has_fault ? &flight->fault : NULL;
	const int late_error = file->late_error;

	flight->has_fault = false;
	if (late_error) {
		file->late_error = 0;
		return late_error;
	}
	if (fault && fault->sync == SIM_SYNC_KEEPS)
		return fault->error;
	cover_effects(sim, flight, fault ? fault->reached : UINT64_MAX);
	if (!fault)
		return 0;
	if (fault->sync == SIM_SYNC_LATE) {
		file->late_error = fault->error;
		return 0;
	}
	return fault->error;
}

/* What the kernel says of one attempt at @flight: bytes moved, 0 or an error. */
static int attempt(struct sim *sim, struct flight *flight)
{
	uint32_t bytes = flight->bytes - flight->done_bytes;
	int error;

	if (flight->kind >= RING_ACCEPT)
		return -EOPNOTSUPP;
	if (flight->file == SIM_FILES_MAX)
		return -EBADF;
	if (flight->kind == RING_FDATASYNC)
		return sync_file(sim, flight);
	error = suffer_fault(flight, &bytes);
	if (error)
		return error;
	if (flight->kind == RING_READ)
		return read_part(sim, flight, bytes);
	if (flight->kind == RING_WRITE)
		return write_part(sim, flight, bytes);
	if (flight->kind == RING_PUNCH)
		return punch_range(sim, flight);
	return 0; /* ALLOCATE and ADVISE change nothing that can be seen */
}

/* Returns whether the operation is over; a short one has more to do. */
static bool execute(struct sim *sim, struct flight *flight)
{
	const int res = attempt(sim, flight);
	const bool over = ring_op_advance(flight->op, res, &flight->result);

	flight->done_bytes = flight->op->done_bytes;
	return over;
}

/* ---- steps ---------------------------------------------------------------- */

static void trace_step(const struct sim *sim, const char *what, const struct flight *flight)
{
	if (!sim->trace)
		return;
	fprintf(sim->trace, "step %" PRIu64 ": %s #%" PRIu64 " %s", sim->steps, what, flight->id,
		kind_names[flight->kind]);
	if (flight->file < SIM_FILES_MAX)
		fprintf(sim->trace, " file %u", flight->file);
	if (flight->kind != RING_FDATASYNC)
		fprintf(sim->trace, " [%" PRIu64 ", +%" PRIu64 ")", flight->offset_bytes,
			flight->bytes + flight->range_bytes);
	if (flight->executed)
		fprintf(sim->trace, " = %d", flight->result);
	fputc('\n', sim->trace);
}

/* May there be another step? If not, this is the crash. */
static bool may_step(struct sim *sim)
{
	if (sim->steps >= sim->crash_at)
		sim->crashed = true;
	return !sim->crashed;
}

static bool is_transfer(enum ring_kind kind)
{
	return kind == RING_READ || kind == RING_WRITE;
}

static bool has_range(enum ring_kind kind)
{
	return kind == RING_PUNCH || kind == RING_ALLOCATE || kind == RING_ADVISE;
}

static struct flight *add_flight(struct sim *sim)
{
	sim->flights = sparse_grow(sim->flights, sim->nr_flights, &sim->room_flights,
				   sizeof(*sim->flights));
	return &sim->flights[sim->nr_flights++];
}

static void take_off(struct sim_ring *ring, struct ring_op *op)
{
	struct sim *sim = ring->sim;
	const unsigned int file = (unsigned int)op->fd - SIM_FD_FIRST;
	struct flight flight = {
		.ring = ring,
		.op = op,
		.kind = op->kind,
		.file = file < sim->nr_files ? file : SIM_FILES_MAX,
		.id = ++sim->last_id,
		.submitted_at = ++sim->clock,
		.offset_bytes = op->offset_bytes,
		.range_bytes = has_range(op->kind) ? op->range_bytes : 0,
		.bytes = is_transfer(op->kind) ? op->bytes : 0,
	};

	if (kind_changes_file(op->kind))
		sim_require((op->offset_bytes | flight.bytes | flight.range_bytes) % SECTOR_BYTES ==
				    0,
			    "a write or punch is not of whole sectors");
	if (op->kind == RING_WRITE)
		flight.payload = payload_new(op->data, op->bytes);
	draw_fault(sim, &flight);
	trace_step(sim, "submit", &flight);
	*add_flight(sim) = flight;
}

static void deliver(struct sim *sim, struct flight *place)
{
	const struct flight flight = *place;

	memmove(place, place + 1, (char *)&sim->flights[sim->nr_flights] - (char *)(place + 1));
	sim->nr_flights--;
	sim->clock++;
	for (uint32_t i = 0; i < sim->nr_effects; i++)
		if (sim->effects[i].flight_id == flight.id)
			sim->effects[i].delivered_at = sim->clock;
	sim->steps++;
	trace_step(sim, "deliver", &flight);
	payload_put(flight.payload);
	flight.ring->ring.nr_in_flight--;
	flight.op->done(flight.op, flight.result);
}

/* One of the operations of @ring, of which there is at least one. */
static struct flight *pick_flight(struct sim_ring *ring)
{
	struct sim *sim = ring->sim;
	const uint32_t nr = ring->ring.nr_in_flight;
	uint32_t chosen = sim->newest_first ? nr - 1 : sim_choose(sim, nr);

	for (uint32_t i = 0; i < sim->nr_flights; i++)
		if (sim->flights[i].ring == ring && chosen-- == 0)
			return &sim->flights[i];
	sim_die("nr_in_flight of a ring is wrong");
}

static struct sim_ring *ring_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct sim_ring, ring);
}

static void engine_submit(struct ring *ring, struct ring_op *op)
{
	struct sim *sim = ring_of(ring)->sim;

	if (!may_step(sim))
		return;
	sim->steps++;
	sim->counts[op->kind]++;
	take_off(ring_of(ring), op);
}

static int engine_wait(struct ring *ring, int timeout_ms)
{
	struct sim *sim = ring_of(ring)->sim;

	if (sim->crashed)
		return -ECANCELED;
	if (ring->nr_in_flight == 0)
		return timeout_ms < 0 ? -EDEADLK : 0;
	if (!may_step(sim))
		return -ECANCELED;
	for (;;) {
		struct flight *flight = pick_flight(ring_of(ring));

		if (!flight->executed) {
			flight->executed = execute(sim, flight);
			if (sim->split || !flight->executed)
				continue;
		}
		deliver(sim, flight);
		return 0;
	}
}

static void engine_free(struct ring *ring)
{
	struct sim_ring *own = ring_of(ring);
	struct sim_ring **link = &own->sim->rings;

	sim_require(ring->nr_in_flight == 0 || own->sim->crashed,
		    "a ring is freed with operations in flight");
	while (*link != own)
		link = &(*link)->next;
	*link = own->next;
	free(own);
}

const struct ring_ops sim_ring_ops = {
	.submit = engine_submit,
	.wait = engine_wait,
	.free = engine_free,
};
