/* SPDX-License-Identifier: MIT */
/* The insides of the simulator, shared by sim.c, engine.c (a run) and cut.c (its end). */
#ifndef TESTS_SIM_STATE_H
#define TESTS_SIM_STATE_H

#include "sealblk/units.h"
#include "sim/sim.h"
#include "sim/sparse.h"

/* 2^64 / the golden ratio: odd, and its bits are as irregular as bits can be. */
#define SIM_GOLDEN 0x9e3779b97f4a7c15u

/* The bytes of one write, shared by its effects in all machines. */
struct payload {
	uint32_t nr_owners;
	uint8_t bytes[];
};

/* A write or punch, or part of one, that has changed the cache of its file. */
struct effect {
	uint32_t file;
	bool durable; /* waits only for older effects to be durable */
	uint64_t flight_id;
	uint64_t delivered_at; /* on sim->clock; 0: not yet */
	uint64_t first_sector;
	uint64_t nr_sectors;
	struct payload *payload; /* NULL: a punch; otherwise an owner of it */
	size_t payload_at_bytes; /* of first_sector in there */
};

/* An operation between submission and delivery. @op is not touched after a crash. */
struct flight {
	struct sim_ring *ring;
	struct ring_op *op;
	enum ring_kind kind;
	uint32_t file; /* SIM_FILES_MAX: none of ours */
	uint64_t id;
	uint64_t submitted_at; /* on sim->clock */
	uint64_t offset_bytes;
	uint64_t range_bytes;
	uint32_t bytes;
	uint32_t done_bytes;	 /* as op->done_bytes, which may be gone */
	struct payload *payload; /* WRITE: the bytes as submitted */
	bool has_fault;
	struct sim_fault fault;
	bool executed; /* over, @result waits to be delivered */
	int result;
};

struct sim_file {
	struct store_ops ops; /* of its stores, which find the file by them */
	struct sim *sim;
	struct sparse cache;
	struct sparse medium;
	uint64_t cache_bytes;
	uint64_t medium_bytes;
	int late_error; /* for the next fdatasync; negative errno or 0 */
};

struct sim_ring {
	struct ring ring;
	struct sim *sim;
	struct sim_ring *next;
};

struct fault_slot {
	struct sim_fault fault;
	uint64_t nr_seen;
};

struct sim {
	bool has_random;
	uint64_t random; /* state of the generator */
	struct sim_choices *choices;
	bool split;
	bool newest_first;
	FILE *trace;

	uint64_t clock;	  /* orders submissions and deliveries */
	uint64_t last_id; /* of a flight */
	uint64_t steps;
	uint64_t crash_at;
	bool crashed;
	uint64_t counts[RING_COMMAND + 1];

	struct sim_file files[SIM_FILES_MAX];
	uint32_t nr_files;
	struct sim_ring *rings;

	struct effect *effects; /* not yet on the medium, oldest first */
	uint32_t nr_effects;
	uint32_t room_effects;

	struct flight *flights; /* in order of submission */
	uint32_t nr_flights;
	uint32_t room_flights;

	struct fault_slot faults[SIM_FAULTS_MAX];
	uint32_t nr_faults;
};

/* Does @kind change the content of a file? */
static inline bool kind_changes_file(enum ring_kind kind)
{
	return kind == RING_WRITE || kind == RING_PUNCH;
}

/* A well mixed function of @value. */
static inline uint64_t mix64(uint64_t value)
{
	value = (value ^ value >> 32) * SIM_GOLDEN;
	value = (value ^ value >> 29) * SIM_GOLDEN;
	return value ^ value >> 32;
}

/* The test or the program above is wrong. */
void sim_die(const char *complaint) __attribute__((noreturn));

static inline void sim_require(bool good, const char *complaint)
{
	if (!good)
		sim_die(complaint);
}

/* ---- engine.c ---- */

/* The road of every operation: the table behind struct ring. */
extern const struct ring_ops sim_ring_ops;

/* Bytes of sector @sector as @effect leaves it; NULL: a hole. */
const uint8_t *effect_sector(const struct effect *effect, uint64_t sector);

/* What @flight, a write or punch, has not done yet. Borrows the payload. */
struct effect flight_rest(const struct flight *flight);

/* Let the content of a file, of *@bytes, change as @effect says; a write may lengthen it. */
void effect_apply(const struct effect *effect, struct sparse *content, uint64_t *bytes);

/* Change the cache and note the effect down. Copies @effect, shares its payload. */
void sim_add_effect(struct sim *sim, const struct effect *effect);

/* Accepts NULL. */
void payload_put(struct payload *payload);
struct payload *payload_get(struct payload *payload);

/* ---- sim.c ---- */

/* sim_clone() at any time: what is in flight is left behind. */
struct sim *sim_copy_files(const struct sim *sim, uint64_t seed);

/* The file that @fd names; ends the process when there is none. */
uint32_t sim_file_of(const struct sim *sim, int fd);

#endif
