/* SPDX-License-Identifier: MIT */
/*
 * System calls: see layers.h. What is not listed kills the process: no part of it
 * asks for anything else, so something has gone wrong that cannot be mended, and an
 * image survives a crash. A new call in the daemon needs a line here; tests/functional
 * would find it. The kernel keeps calls that are allowed whatever their arguments in a
 * bitmap, so those of the data path cost no filter's run (Linux 5.11 and newer).
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/layers.h"

/* ---- what the daemon calls ---- */

static const int daemon_calls[] = {
	/* the data path: what is open */
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fsync),
	SCMP_SYS(fallocate),
	SCMP_SYS(fadvise64),
	SCMP_SYS(lseek),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fcntl),
	SCMP_SYS(close),

	/* clients; no socket(), bind(), listen() or connect() */
	SCMP_SYS(accept4),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(shutdown),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(geteuid), /* is it the same user? */

	/* the libaio engine */
	SCMP_SYS(io_submit),
	SCMP_SYS(io_getevents),
	SCMP_SYS(io_pgetevents),
	SCMP_SYS(io_destroy),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),

	/* dirty files, locks and sockets in the runtime directory: Landlock says where */
	SCMP_SYS(openat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(getdents64),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),

	/* threads, memory */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), /* malloc() counts processors */
	SCMP_SYS(sysinfo),	     /* qsort() and memory */
	SCMP_SYS(brk),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	SCMP_SYS(eventfd2),

	/* signals, time, the end */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime), /* and the next: where the vDSO cannot */
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(getrandom),
	SCMP_SYS(wait4), /* for the helper */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* ---- what the helper calls, once it is locked ---- */

static const int helper_calls[] = {
	SCMP_SYS(recvmsg),	  SCMP_SYS(sendmsg),	  SCMP_SYS(close),
	SCMP_SYS(munmap),	  SCMP_SYS(brk),	  SCMP_SYS(madvise),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),	  SCMP_SYS(gettid),	  SCMP_SYS(write),
	SCMP_SYS(exit_group),
};

/* ---- calls that depend on an argument ---- */

/* Allowed when the bits of @mask in argument @argument are @value. */
struct condition {
	int call;
	unsigned int argument; /* from 0 */
	uint64_t mask;
	uint64_t value;
};

#define WORD UINT64_C(0xffffffff) /* the kernel looks at no more */

/* No memory is ever made executable. */
static const struct condition memory_conditions[] = {
	{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
};

static const struct condition daemon_conditions[] = {
	/* Threads, but no process. glibc falls back to it from clone3(), see below. */
	{ SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD },
	/* Each worker lets its ring begin. */
	{ SCMP_SYS(io_uring_register), 1, WORD, IORING_REGISTER_ENABLE_RINGS },
	/* stdio: is this a terminal? */
	{ SCMP_SYS(ioctl), 1, WORD, TCGETS },
};

/* Nothing is made, written or shortened by it. */
static const struct condition helper_conditions[] = {
	{ SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
};

/* ---- calls that are answered: libraries try them, and can do without ---- */

static const struct answer {
	int call;
	int error;
} answers[] = {
	/* Its flags are in memory, where a filter cannot look. */
	{ SCMP_SYS(clone3), ENOSYS },
	{ SCMP_SYS(prctl), EINVAL },
	{ SCMP_SYS(membarrier), ENOSYS },
};

/* ---- the filter ---- */

static int allow_calls(scmp_filter_ctx filter, const int *calls, size_t nr)
{
	int r = 0;

	for (size_t i = 0; i < nr && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

static int allow_conditions(scmp_filter_ctx filter, const struct condition *all, size_t nr)
{
	int r = 0;

	for (size_t i = 0; i < nr && r == 0; i++) {
		const struct scmp_arg_cmp when = { all[i].argument, SCMP_CMP_MASKED_EQ, all[i].mask,
						   all[i].value };

		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, all[i].call, 1, &when);
	}
	return r;
}

/* abort() sends itself a signal. */
static int allow_own_signals(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp myself = { 0, SCMP_CMP_MASKED_EQ, WORD, (uint64_t)getpid() };

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &myself);
}

static int allow_common(scmp_filter_ctx filter)
{
	int r = allow_conditions(filter, memory_conditions, ARRAY_LEN(memory_conditions));

	for (size_t i = 0; i < ARRAY_LEN(answers) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)answers[i].error),
				     answers[i].call, 0);
	/* A tracer (strace's fault injection) that answers a call itself makes it number -1. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, -1, 0);
	return r < 0 ? r : allow_own_signals(filter);
}

/* Other architectures' calls (32 bit, x32) kill as well; a tree, not a chain: it is balanced. */
static scmp_filter_ctx new_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (filter &&
	    (seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0 ||
	     seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) < 0 ||
	     seccomp_attr_set(filter, SCMP_FLTATR_API_TSKIP, 1) < 0 ||
	     seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)) {
		seccomp_release(filter);
		return NULL;
	}
	return filter;
}

int seccomp_enter(unsigned int *ret_nr_calls)
{
	scmp_filter_ctx filter = new_filter();
	int r = filter ? allow_common(filter) : -ENOMEM;

	if (r == 0)
		r = allow_calls(filter, daemon_calls, ARRAY_LEN(daemon_calls));
	if (r == 0)
		r = allow_conditions(filter, daemon_conditions, ARRAY_LEN(daemon_conditions));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	*ret_nr_calls = ARRAY_LEN(daemon_calls) + ARRAY_LEN(daemon_conditions) +
			ARRAY_LEN(memory_conditions) + 1; /* tgkill() */
	return r;
}

int seccomp_enter_helper(void)
{
	scmp_filter_ctx filter = new_filter();
	int r = filter ? allow_common(filter) : -ENOMEM;

	if (r == 0)
		r = allow_calls(filter, helper_calls, ARRAY_LEN(helper_calls));
	if (r == 0)
		r = allow_conditions(filter, helper_conditions, ARRAY_LEN(helper_conditions));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
