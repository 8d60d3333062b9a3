/* SPDX-License-Identifier: MIT */
/*
 * A simulated machine: files with a volatile cache in front of a medium, behind
 * the engine seam (ring/ring.h) and the store (store/store.h). The code above
 * the seam is the real one; what runs below is decided by a seed or a script.
 *
 * The medium. A completed write or punch changes the cache, which reads show.
 * It is on the medium for certain once an fdatasync that was submitted after
 * its completion was delivered has completed too. A power cut keeps any subset
 * of the rest, also of what was still in flight; per sector the newest kept one
 * wins. A kill of the daemon keeps the cache, and each write in flight happens
 * or does not. What a run keeps elsewhere (the dirty file in tmpfs) is the
 * test's to carry over a kill and to drop at a power cut.
 *
 * Time is a count of steps: each submission and each delivered completion is
 * one. A run is the same again for the same seed, script, faults and program.
 *
 * All of it belongs to one thread. A wrong use and a lack of memory abort().
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ring/ring.h"
#include "store/store.h"

struct sim;

enum {
	SIM_FILES_MAX = 8,
	SIM_FAULTS_MAX = 8,
	SIM_CHOICES_MAX = 256,
	SIM_ANY_FILE = -1,
	SIM_FD_FIRST = 1 << 20, /* no real descriptor, so a stray system call says EBADF */
};

/* ---- the machine ---------------------------------------------------------- */

/* @seed: of every choice; 0: none at random, always the first possibility. */
struct sim *sim_new(uint64_t seed);

/*
 * A second machine with the same files, caches and media, for the price of a
 * pointer per stored page. Steps, faults and scripts start anew; nothing may be
 * in flight in @sim unless it has crashed.
 */
struct sim *sim_clone(const struct sim *sim, uint64_t seed);

/* Accepts NULL. Frees its rings too, so ring_free() them before or never. */
void sim_free(struct sim *sim);

/*
 * Add a file of @bytes, all hole; a write beyond its end makes it longer.
 * Returns the descriptor that ring operations name. The n-th file has the same
 * one in every machine and every clone.
 */
int sim_file(struct sim *sim, uint64_t bytes);

/* *ret_store lives no longer than @sim; its close() does nothing. */
void sim_store(struct sim *sim, int fd, struct store *ret_store);

/*
 * A ring of this machine. Knows READ, WRITE (whole sectors), FDATASYNC, PUNCH
 * (whole sectors), ALLOCATE and ADVISE; the rest completes with -EOPNOTSUPP.
 * ring_wait() delivers one completion, chosen among those of this ring, and
 * returns -ECANCELED after the crash and -EDEADLK when it would wait for ever.
 */
struct ring *sim_ring(struct sim *sim);

/* Print each step to @to from now on; NULL: no longer. */
void sim_trace(struct sim *sim, FILE *to);

/* ---- order ---------------------------------------------------------------- */

/*
 * The choices of one run, in the order they were made; with
 *
 *	struct sim_choices choices = { 0 };
 *	do {
 *		... a run with sim_follow(sim, &choices) ...
 *	} while (sim_choices_next(&choices));
 *
 * every possible run is made once.
 */
struct sim_choices {
	uint32_t nr;	  /* made or prescribed */
	uint32_t nr_made; /* by the current run */
	bool overflow;	  /* a run had more than fit: 0 was taken */
	uint16_t taken[SIM_CHOICES_MAX];
	uint16_t of[SIM_CHOICES_MAX];
};

/*
 * Take @choices instead of random numbers, and note down those they lack as 0.
 * Several machines may follow the same ones in turn: a run and its recovery.
 */
void sim_follow(struct sim *sim, struct sim_choices *choices);

/* Prescribe the next run; false when all have been made. */
bool sim_choices_next(struct sim_choices *choices);

/* One choice below @possibilities (1..65535), for the test's own use as well. */
uint32_t sim_choose(struct sim *sim, uint32_t possibilities);

/*
 * Deliver the operation that was submitted last, instead of choosing: one that
 * was submitted early stays in flight for as long as there are others.
 */
void sim_newest_first(struct sim *sim, bool newest_first);

/*
 * Let operations take effect some time before their completion is delivered,
 * so that completions need not be delivered in the order of effects. Doubles
 * the choices; otherwise an operation takes effect when it is delivered.
 */
void sim_split_completions(struct sim *sim, bool split);

/* ---- crash ---------------------------------------------------------------- */

/*
 * Let the machine stop when it would make step @step + 1: submissions vanish,
 * nothing is delivered any more. What the run does between step @step and that
 * moment (an acknowledgement, say) still counts as done before the crash;
 * afterwards sim_crashed() is true, and what the run does means nothing.
 */
void sim_crash_at(struct sim *sim, uint64_t step);
bool sim_crashed(const struct sim *sim);
uint64_t sim_steps(const struct sim *sim);

/* Submissions of @kind so far: how far "fail the n-th" has to go. */
uint64_t sim_count(const struct sim *sim, enum ring_kind kind);

enum sim_cut_kind {
	SIM_POWER_CUT, /* the medium and a subset of what was pending; empty caches */
	SIM_KILL,      /* the caches, and some of the writes that were in flight */
};

enum sim_grain {
	SIM_WHOLE_WRITES, /* a write survives whole or not at all */
	SIM_SECTORS,	  /* each sector of a write for itself: torn writes */
	/*
	 * As sampled with SIM_SECTORS, and sectors torn inside as well: each 16 bytes
	 * are those of what survives or of what was there before. Power cuts only.
	 */
	SIM_UNITS,
};

struct sim_cut_plan {
	enum sim_cut_kind kind;
	enum sim_grain grain;
	/*
	 * When more states than this are possible, some are taken: nothing kept,
	 * all kept, only one, all but one (if these fill at most half), and then
	 * random ones in which each write is kept, lost or (SIM_SECTORS) torn.
	 */
	uint64_t states_max;
	uint64_t seed; /* of the random ones */
};

struct sim_cut;

/*
 * The states in which the files of @sim may be found if it stopped now. @sim
 * must stay as it is until sim_cut_free(). Operations of the run need not exist
 * any more.
 */
struct sim_cut *sim_cut_new(const struct sim *sim, const struct sim_cut_plan *plan);
void sim_cut_free(struct sim_cut *cut);

/* Writes and punches whose fate is open. */
uint32_t sim_cut_pending(const struct sim_cut *cut);

/* How many states to visit, at least one; is that all there are? */
uint64_t sim_cut_states(const struct sim_cut *cut);
bool sim_cut_exhaustive(const struct sim_cut *cut);

/*
 * The machine as it comes up in state @index (0..states-1), the same one every
 * time. With SIM_WHOLE_WRITES and an exhaustive cut, bit i of @index says
 * whether pending write i (oldest effect first, then what had none yet in order
 * of submission) is kept. With SIM_SECTORS no two states of an exhaustive cut
 * read the same. State 0 keeps nothing. The new machine is seeded with the
 * plan's seed; the caller frees it: sim_free().
 */
struct sim *sim_cut_take(const struct sim_cut *cut, uint64_t index);

/* What the files read as in state @index, as a number; costs far less than taking it. */
uint64_t sim_cut_digest(const struct sim_cut *cut, uint64_t index);

/* ---- faults --------------------------------------------------------------- */

/* What becomes of the writes that a failing fdatasync should have covered. */
enum sim_sync_fault {
	SIM_SYNC_KEEPS, /* they stay pending; a later fdatasync may succeed */
	SIM_SYNC_DROPS, /* marked clean, lost but for @reached; the cache shows them */
	/*
	 * As DROPS, yet this one returns 0 and the file's next fdatasync has the
	 * error. Only with all of them in @reached (the file system's journal held
	 * them) can any program keep its promises.
	 */
	SIM_SYNC_LATE,
};

struct sim_fault {
	enum ring_kind kind;
	int fd;		      /* or SIM_ANY_FILE */
	uint64_t nth;	      /* 1: the next such operation to be submitted */
	bool persistent;      /* that one and all after it */
	int error;	      /* negative errno; 0: a short transfer only */
	uint32_t moved_bytes; /* READ, WRITE: moved first (WRITE: whole sectors) */
	enum sim_sync_fault sync;
	uint64_t reached; /* bit i: the i-th oldest reached the medium; bit 63: and later */
};

/*
 * A short transfer goes through ring_op_advance(), so that its rest runs as an
 * event of its own; with @error that rest fails.
 */
void sim_fault(struct sim *sim, const struct sim_fault *fault);

/* No faults from here on; those of operations in flight still come. */
void sim_forget_faults(struct sim *sim);

/* ---- inspection ----------------------------------------------------------- */

enum sim_view {
	SIM_CACHE,  /* what a read returns */
	SIM_MEDIUM, /* what is there for certain */
};

/* Any alignment; what lies beyond the end of the file is zeros. */
void sim_peek(const struct sim *sim, int fd, enum sim_view view, uint64_t offset_bytes,
	      void *ret_data, size_t bytes);

/* Change cache and medium behind the program's back: initial content, bit rot. */
void sim_poke(struct sim *sim, int fd, uint64_t offset_bytes, const void *data, size_t bytes);

/* Is no sector that [@offset_bytes, +@bytes) touches stored? */
bool sim_is_hole(const struct sim *sim, int fd, enum sim_view view, uint64_t offset_bytes,
		 uint64_t bytes);

/* Does the range, of whole sectors, read as zeros? Cheap where it is hole. */
bool sim_is_zero(const struct sim *sim, int fd, enum sim_view view, uint64_t offset_bytes,
		 uint64_t bytes);

/* Length in bytes as the cache has it. */
uint64_t sim_file_bytes(const struct sim *sim, int fd);

#endif
