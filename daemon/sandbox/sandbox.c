/* SPDX-License-Identifier: MIT */
/* The layers in their order, the one that forbids making others last: see sandbox.h. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/layers.h"

#ifdef SANDBOX_LEFT_OUT

int sandbox_enter(const struct sandbox_plan *plan, struct sandbox_state *ret_state,
		  struct problem *problem)
{
	(void)plan;
	(void)problem;
	*ret_state = (struct sandbox_state){ .left_out = true };
	return 0;
}

int sandbox_enter_helper(void)
{
	return 0;
}

#else

/* CAP_IPC_LOCK lets key memory be locked without limit; let it remain so. Without, the limit holds. */
static void keep_lock_limit(void)
{
	static const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

static int drop_privileges(uint64_t kept)
{
	keep_lock_limit();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return capabilities_drop(kept);
}

/* Last: a change of credentials may bring it back. */
static int forbid_dumps(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

static int failed(int error, const char *layer, struct problem *problem)
{
	problem_set(problem, "sandbox", layer, "cannot be entered: %s; --no-sandbox does without",
		    strerror(-error));
	return error;
}

int sandbox_enter(const struct sandbox_plan *plan, struct sandbox_state *ret_state,
		  struct problem *problem)
{
	struct sandbox_state state = { .left_out = false };
	int r = drop_privileges(0);

	if (r == 0)
		r = forbid_dumps();
	if (r < 0)
		return failed(r, "without capabilities", problem);
	r = landlock_enter(plan, &state.landlock_version);
	if (r < 0)
		return failed(r, "of Landlock", problem);
	r = seccomp_enter(plan, &state.nr_calls);
	if (r < 0)
		return failed(r, "of seccomp", problem);
	*ret_state = state;
	return 0;
}

int sandbox_enter_helper(void)
{
	int r = drop_privileges(UINT64_C(1) << CAP_DAC_READ_SEARCH);

	if (r == 0)
		r = forbid_dumps();
	return r < 0 ? r : seccomp_enter_helper();
}

#endif
