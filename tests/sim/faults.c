/* SPDX-License-Identifier: MIT */
/* Errors from below: see faults.h. */
#include "sim/faults.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "sim/sparse.h"
#include "sim/state.h"
#include "sim/verify.h"

static const struct fault_kind {
	const char *text;
	struct sim_fault fault;
} fault_kinds[] = {
	{ "fdatasync fails, the writes stay pending",
	  { .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_KEEPS } },
	{ "fdatasync fails, the writes are lost",
	  { .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_DROPS } },
	{ "fdatasync fails, the first write reached the disk",
	  { .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_DROPS, .reached = 1 } },
	{ "fdatasync fails, all but the first write reached the disk",
	  { .kind = RING_FDATASYNC,
	    .error = -EIO,
	    .sync = SIM_SYNC_DROPS,
	    .reached = ~UINT64_C(1) } },
	{ "fdatasync's failure is told by the next one",
	  { .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_LATE, .reached = UINT64_MAX } },
	{ "a write fails", { .kind = RING_WRITE, .error = -EIO } },
	{ "a write fails in the middle",
	  { .kind = RING_WRITE, .error = -EIO, .moved_bytes = SECTOR_BYTES } },
	{ "a write is short", { .kind = RING_WRITE, .moved_bytes = SECTOR_BYTES } },
	{ "every write fails from one on",
	  { .kind = RING_WRITE, .error = -EIO, .persistent = true } },
	{ "a write is interrupted", { .kind = RING_WRITE, .error = -EINTR } },
	{ "a write is to be tried again", { .kind = RING_WRITE, .error = -EAGAIN } },
	{ "the disk is full at a write", { .kind = RING_WRITE, .error = -ENOSPC } },
	{ "the disk is full from a write on",
	  { .kind = RING_WRITE, .error = -ENOSPC, .persistent = true } },
	{ "the disk is full at an allocation", { .kind = RING_ALLOCATE, .error = -ENOSPC } },
	{ "the disk is full from an allocation on",
	  { .kind = RING_ALLOCATE, .error = -ENOSPC, .persistent = true } },
	{ "allocating is not supported",
	  { .kind = RING_ALLOCATE, .error = -EOPNOTSUPP, .persistent = true } },
	{ "a punch fails", { .kind = RING_PUNCH, .error = -EIO } },
	{ "punching is not supported",
	  { .kind = RING_PUNCH, .error = -EOPNOTSUPP, .persistent = true } },
	{ "the disk is full at a punch", { .kind = RING_PUNCH, .error = -ENOSPC } },
	{ "the disk is full from a punch on",
	  { .kind = RING_PUNCH, .error = -ENOSPC, .persistent = true } },
	{ "a punch is interrupted", { .kind = RING_PUNCH, .error = -EINTR } },
	{ "a read fails", { .kind = RING_READ, .error = -EIO } },
	{ "every read fails from one on",
	  { .kind = RING_READ, .error = -EIO, .persistent = true } },
	{ "a read is short", { .kind = RING_READ, .moved_bytes = SECTOR_BYTES } },
	{ "a read is interrupted", { .kind = RING_READ, .error = -EINTR } },
	{ "a read is to be tried again", { .kind = RING_READ, .error = -EAGAIN } },
};

static const struct {
	enum script_start start;
	const char *text;
} scripts[] = {
	{ START_FRESH, "W0 L" },	{ START_FRESH, "F0 W0 L" },
	{ START_FRESH, "W01 L W1 L" },	{ START_FRESH, "T0 W1 L W0" },
	{ START_FRESH, "Z0 L T0 L" },	{ START_FRESH, "W0 W1& L W0" },
	{ START_SEALED, "W0 L F1" },	{ START_SEALED, "T0 L W0 L" },
	{ START_SEALED, "Y0 F0 W0" },	{ START_PLAIN, "W0 L T1 L" },
	{ START_PLAIN, "F0 F0 c L" },	{ START_SEALED, "R0 T01 L W0" },
	{ START_SEALED, "- W0 L" },	{ START_PLAIN, "W0 + W01 L" },
	{ START_FRESH, "N W0 L W1" },	{ START_REKEYED, "W1 - W0 L" },
	{ START_FRESH, "W0 L c W1 L" }, { START_FRESH, "W0 E W1 L" },
	{ START_SEALED, "X W0 L" },	{ START_HALF, "+ E W1 L" },
	{ START_FRESH, "W0 V W1 L" },	{ START_SEALED, "T0 W1& V R1 L" },
};

/* What became of a run until it was closed or crashed. */
struct outcome {
	struct explorer *x;
	struct world *world;
	const struct sim_fault *fault; /* with @nth */
	uint64_t nr_before;	       /* such operations before it could strike */
	struct oracle oracle;
	bool spoiled;  /* writes and flushes fail for good */
	bool may_lose; /* to open it after a kill may take --accept-loss */
	/* The keys are gone for good; what was revoked first may have been durable by then. */
	bool revoke_failed;
};

/* ---- while it runs -------------------------------------------------------- */

static bool is_late(const struct sim_fault *fault)
{
	return fault->kind == RING_FDATASYNC && fault->sync == SIM_SYNC_LATE;
}

/* Has an error been told? A late one is told by the operation after it. */
static bool has_struck(const struct outcome *out)
{
	const uint64_t nr = sim_count(out->world->sim, out->fault->kind) - out->nr_before;

	return nr >= out->fault->nth + is_late(out->fault);
}

static bool op_is_durable(char letter)
{
	return letter == 'L' || letter == 'F' || letter == 'Y';
}

static void judge_answer(const struct outcome *out, const struct client_op *op, bool struck_before)
{
	const char letter = op->step->op;
	const bool changes = op_changes_sectors(letter) || letter == 'L';
	/* It may have been one of an owned base, after the answer. */
	const bool sync_failed = out->fault->kind == RING_FDATASYNC && has_struck(out) &&
				 !out->world->geometry->owns_base;

	if (op->pending)
		verify_failed(out->x, "%c is not answered", letter);
	if (changes && op->error == 0 && out->spoiled)
		verify_failed(out->x, "%c succeeds after a failure", letter);
	if (op_is_durable(letter) && op->error == 0 && sync_failed)
		verify_failed(out->x, "%c succeeds although an fdatasync failed", letter);
	if (letter == 'R' && op->error < 0 && out->fault->kind != RING_READ && !out->revoke_failed)
		verify_failed(out->x, "READ fails");
	if (out->fault->error == 0 && op->error < 0)
		verify_failed(out->x, "%c fails, but nothing did", letter);
	if (!struck_before && !has_struck(out) && op->error < 0)
		verify_failed(out->x, "%c fails before anything did", letter);
}

/* A sweep that cannot sync an owned base has nobody to tell, either. */
static bool fails_in_sweep(const struct outcome *out)
{
	return out->world->geometry->owns_base && out->fault->kind == RING_FDATASYNC;
}

/*
 * EIO to a write or flush spoils the export for good, and nothing else does; but
 * for a map block that could not be read: nothing was lost by that.
 */
static void judge_spoiled(struct outcome *out, const struct client_op *op)
{
	const bool failed = atomic_load(&out->world->image->disk.map.failed);

	out->revoke_failed |= op->step->op == 'V' && op->error < 0;
	out->spoiled |= op->error == -EIO && (out->fault->kind != RING_READ || op->step->op == 'V');
	/* A round of the daemon's own has nobody to tell: the next one who asks is told. */
	out->spoiled |= failed &&
			(op->step->op == 'c' || op_is_rewrite(op->step->op) || fails_in_sweep(out));
	if (failed && !out->spoiled)
		verify_failed(out->x, "the export failed, and nobody was told");
	if (out->spoiled && !failed)
		verify_failed(out->x, "the export goes on after a failure");
}

static void run_ops(struct outcome *out, const struct script *script, uint32_t first_content)
{
	struct client *client = sparse_alloc(sizeof(*client));

	client_init(client, out->world, &out->oracle);
	client->next_content = first_content;
	for (unsigned int i = 0; i < script->nr; i++) {
		const bool struck = has_struck(out);
		const struct client_op *op = client_issue(client, &script->steps[i], i);
		const int r = client_wait(client, script->steps[i].waited ? NULL : op);

		if (r < 0)
			verify_failed(out->x, "the program is stuck: %s", strerror(-r));
		judge_answer(out, op, struck);
		judge_spoiled(out, op);
	}
	if (client->unfinished)
		verify_failed(out->x, "a rewrite is said to be done, and is not");
	if (client->strange_read)
		verify_failed(out->x, "a READ answered with what it may not");
	free(client);
}

/* With space again, an export that nothing has spoiled works as ever, without a restart. */
static void go_on(struct outcome *out)
{
	const struct script script = script_parse(START_FRESH, ORDER_OLDEST, "W01 T1 L F01 L");
	const struct sim_fault *fault = out->fault;
	static const struct sim_fault none = { .kind = RING_READ, .nth = UINT64_MAX };

	if (!fault->persistent || fault->error != -ENOSPC || out->spoiled)
		return;
	sim_forget_faults(out->world->sim);
	out->fault = &none; /* from here on nothing may fail */
	run_ops(out, &script, CONTENT_FIRST + SCRIPT_STEPS_MAX);
	out->fault = fault;
}

/* ---- afterwards ----------------------------------------------------------- */

/*
 * Open what is left, if need be with --accept-loss, where that may be asked for.
 * An open that fails for an error still to be told is tried again.
 */
static void reopen(const struct outcome *out, struct world *after, enum severity severity)
{
	struct explorer *x = out->x;
	uint32_t contents[ORACLE_SECTORS_MAX];
	struct oracle found;
	bool accept_loss = false;
	int r = -EIO;

	for (int attempt = 0; attempt < 4 && r < 0; attempt++) {
		r = world_open(after, accept_loss);
		if (r == -EUCLEAN && severity == SEVERITY_KILL && out->may_lose) {
			accept_loss = true;
			severity = SEVERITY_POWER;
		}
		if (r < 0)
			world_abandon(after);
	}
	if (r < 0)
		verify_failed(x, "does not open: %s", after->problem.text);
	if (out->spoiled && severity == SEVERITY_KILL && !out->revoke_failed)
		verify_failed(x, "opens as if nothing had failed");
	x->nr_recoveries++;
	verify_world(x, after, &out->oracle, severity, contents);
	found = verify_oracle(after, contents);
	verify_close(x, after, &found);
	world_free(after);
}

static void crash(const struct outcome *out, enum sim_cut_kind kind)
{
	const struct sim_cut_plan plan = {
		.kind = kind, .grain = SIM_SECTORS, .states_max = 8, .seed = 1
	};
	struct sim_cut *cut = sim_cut_new(out->world->sim, &plan);

	for (uint64_t i = 0; i < sim_cut_states(cut); i++) {
		out->x->nr_states++;
		reopen(out, world_after(out->world, sim_cut_take(cut, i), kind),
		       kind == SIM_KILL ? SEVERITY_KILL : SEVERITY_POWER);
	}
	sim_cut_free(cut);
}

/* The end of the run: closed if that is possible, then killed all the same. */
static void stop(struct outcome *out)
{
	const int r = image_stop(out->world->image, &out->world->problem);

	if (r == 0 && out->spoiled)
		verify_failed(out->x, "closes cleanly after a failure");
	if (r < 0 && !has_struck(out))
		verify_failed(out->x, "does not close: %s", out->world->problem.text);
	out->spoiled = false; /* it may have been marked clean before the error */
	out->may_lose = true;
	crash(out, SIM_KILL);
	crash(out, SIM_POWER_CUT);
}

/* READ must work, and its answer be what the client was told. */
static void read_on(struct outcome *out)
{
	uint32_t contents[ORACLE_SECTORS_MAX];

	if (out->fault->kind == RING_READ || out->revoke_failed)
		return;
	verify_world(out->x, out->world, &out->oracle, SEVERITY_NONE, contents);
}

/* ---- runs ----------------------------------------------------------------- */

static struct world *open_start(struct explorer *x, const struct script *script,
				struct oracle *ret_oracle)
{
	struct world *world = world_clone(x->starts[x->geometry][script->start], 0);

	explore_oracle(script->start, ret_oracle);
	if (world_open(world, false) < 0)
		verify_failed(x, "does not open: %s", world->problem.text);
	return world;
}

/* Run @script without any fault; what a kill at its end leaves. */
static struct world *run_and_kill(struct explorer *x, const struct script *script,
				  struct oracle *ret_oracle)
{
	static const struct sim_fault none = { .kind = RING_READ, .nth = UINT64_MAX };
	struct outcome out = { .x = x, .fault = &none };
	struct world *killed;

	out.world = open_start(x, script, &out.oracle);
	run_ops(&out, script, CONTENT_FIRST);
	*ret_oracle = out.oracle;
	killed = world_after(out.world, sim_copy_files(out.world->sim, 0), SIM_KILL);
	world_free(out.world);
	return killed;
}

/* One script with one fault while it runs. Returns whether the fault struck. */
static bool run_script(struct explorer *x, const struct script *script,
		       const struct sim_fault *fault)
{
	struct outcome out = { .x = x, .fault = fault };
	bool struck;

	out.world = open_start(x, script, &out.oracle);
	out.nr_before = sim_count(out.world->sim, fault->kind);
	sim_trace(out.world->sim, x->trace);
	sim_fault(out.world->sim, fault);
	run_ops(&out, script, CONTENT_FIRST);
	read_on(&out);
	go_on(&out);
	out.may_lose = out.spoiled || is_late(fault);
	crash(&out, SIM_KILL);
	crash(&out, SIM_POWER_CUT);
	stop(&out);
	struck = has_struck(&out);
	world_free(out.world);
	return struck;
}

/* The same fault while the image is opened after a kill. */
static bool run_recovery(struct explorer *x, const struct script *script,
			 const struct sim_fault *fault)
{
	struct outcome out = { .x = x, .fault = fault };
	bool struck;

	out.world = run_and_kill(x, script, &out.oracle);
	sim_trace(out.world->sim, x->trace);
	sim_fault(out.world->sim, fault);
	struck = world_open(out.world, false) < 0;
	if (struck && !has_struck(&out))
		verify_failed(x, "does not open: %s", out.world->problem.text);
	struck = has_struck(&out);
	out.may_lose = struck || is_late(fault);
	crash(&out, SIM_KILL);
	crash(&out, SIM_POWER_CUT);
	world_free(out.world);
	return struck;
}

typedef bool (*run_fn)(struct explorer *x, const struct script *script,
		       const struct sim_fault *fault);

/* For every n until the n-th does not come any more. */
static void run_every_nth(struct explorer *x, const struct script *script,
			  const struct fault_kind *kind, run_fn run)
{
	struct sim_fault fault = kind->fault;
	bool struck = true;

	fault.fd = SIM_ANY_FILE;
	x->fault_text = kind->text;
	for (fault.nth = 1; struck; fault.nth++) {
		x->fault_nth = fault.nth;
		x->nr_faults++;
		struck = run(x, script, &fault);
	}
	x->fault_text = NULL;
}

void faults_run_script(struct explorer *x, const struct script *script)
{
	explore_begin(x, script, "-f ");
	for (size_t k = 0; k < ARRAY_LEN(fault_kinds); k++) {
		run_every_nth(x, script, &fault_kinds[k], run_script);
		run_every_nth(x, script, &fault_kinds[k], run_recovery);
	}
}

void faults_run(struct explorer *x, unsigned int geometry, unsigned int one_in)
{
	x->geometry = geometry;
	for (size_t i = 0; i < ARRAY_LEN(scripts); i += one_in) {
		const struct script script =
			script_parse(scripts[i].start, ORDER_OLDEST, scripts[i].text);

		if (geometry == 0 || script.start == START_FRESH)
			faults_run_script(x, &script);
	}
}

void faults_lose_dirty_file(struct explorer *x)
{
	const struct script script = script_parse(START_FRESH, ORDER_OLDEST, "W0 F1 W0");
	static const struct sim_fault none = { .kind = RING_READ, .nth = UINT64_MAX };
	struct outcome out = { .x = x, .fault = &none, .may_lose = true };
	struct world *killed;

	explore_begin(x, &script, "");
	killed = run_and_kill(x, &script, &out.oracle);
	memory_store_done(&killed->memory);
	if (world_open(killed, false) != -EUCLEAN)
		verify_failed(x, "opens although its dirty file is missing");
	world_abandon(killed);
	reopen(&out, killed, SEVERITY_KILL);
}
