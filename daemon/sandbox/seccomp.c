/* SPDX-License-Identifier: MIT */
/*
 * System calls: see layers.h. What is not listed kills the process: no part of it
 * asks for anything else, so something has gone wrong that cannot be mended, and an
 * image survives a crash. A new call in the daemon needs a line here; the functional
 * tests would find it.
 *
 * The filter is written out here: it takes no memory, and nothing in it can fail half
 * way. libseccomp 2.5 crashes, hangs or makes another filter when memory runs out.
 * Its length does not matter: calls that are allowed whatever their arguments, so those
 * of the data path, the kernel keeps in a bitmap (Linux 5.11 and newer).
 */
#include <asm/termbits.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/layers.h"

#ifndef __x86_64__
#error "the list below is that of x86-64, and has calls that newer architectures have not"
#endif

/* ---- what the daemon calls ---- */

static const int daemon_calls[] = {
	/* the data path: what is open */
	SYS_io_uring_enter,
	SYS_preadv2,
	SYS_pwritev2,
	SYS_pread64,
	SYS_pwrite64,
	SYS_preadv,
	SYS_pwritev,
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_fdatasync,
	SYS_fsync,
	SYS_fallocate,
	SYS_fadvise64,
	SYS_ftruncate, /* --trace, when its file cannot be written */
	SYS_lseek,
	SYS_fstat,
	SYS_fstatfs,
	SYS_close,

	/* clients; no socket(), bind(), listen() or connect() */
	SYS_accept4,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_sendto,
	SYS_sendmsg,
	SYS_getpeername,
	SYS_getsockname,
	SYS_getsockopt,
	SYS_poll,
	SYS_ppoll,
	SYS_geteuid, /* is it the same user? */

	/* the libaio engine */
	SYS_io_submit,
	SYS_io_getevents,
	SYS_io_pgetevents,
	SYS_io_destroy,
	SYS_epoll_wait,
	SYS_epoll_pwait,
	SYS_epoll_ctl,

	/* dirty files, locks and sockets in the runtime directory: Landlock says where */
	SYS_openat,
	SYS_newfstatat,
	SYS_getdents64,
	SYS_unlink,
	SYS_unlinkat,

	/* threads, memory */
	SYS_futex,
	SYS_set_robust_list,
	SYS_rseq,
	SYS_gettid,
	SYS_getpid,
	SYS_sched_yield,
	SYS_sched_getaffinity, /* malloc() counts processors */
	SYS_sysinfo,	       /* qsort() and memory */
	SYS_brk,
	SYS_mremap,
	SYS_munmap,
	SYS_madvise,
	SYS_mlock,
	SYS_munlock,
	SYS_eventfd2,

	/* signals, time, the end */
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_rt_sigtimedwait,
	SYS_restart_syscall,
	SYS_clock_gettime, /* and the next: where the vDSO cannot */
	SYS_gettimeofday,
	SYS_time,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_getrandom,
	SYS_wait4, /* for the helper */
	SYS_exit,
	SYS_exit_group,
};

/* ---- what the helper calls, once it is locked ---- */

static const int helper_calls[] = {
	SYS_recvmsg, SYS_sendmsg,	 SYS_close,	   SYS_munmap,		SYS_brk,
	SYS_madvise, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall, SYS_getpid,
	SYS_gettid,  SYS_write,		 SYS_exit_group,
};

/* ---- calls that depend on an argument ---- */

/*
 * Allowed when the bits of @mask in argument @argument are @value. Of these arguments
 * the kernel looks at the lower 32 bits, or has no flags above.
 */
struct condition {
	int call;
	unsigned int argument; /* from 0 */
	uint32_t mask;
	uint32_t value;
};

#define WORD UINT64_C(0xffffffff) /* the kernel looks at no more */

#define WHOLE UINT32_MAX

/* No memory is ever made executable. */
static const struct condition memory_conditions[] = {
	{ SYS_mmap, 2, PROT_EXEC, 0 },
	{ SYS_mprotect, 2, PROT_EXEC, 0 },
};

static const struct condition daemon_conditions[] = {
	/* Threads, but no process. glibc falls back to it from clone3(), see below. */
	{ SYS_clone, 0, CLONE_THREAD, CLONE_THREAD },
	/* Each worker lets its ring begin. */
	{ SYS_io_uring_register, 1, WHOLE, IORING_REGISTER_ENABLE_RINGS },
	/* Locks; but no second number for a descriptor: see allow_shutdown(). */
	{ SYS_fcntl, 1, WHOLE, F_GETFD },
	{ SYS_fcntl, 1, WHOLE, F_SETFD }, /* fdopendir() */
	{ SYS_fcntl, 1, WHOLE, F_GETFL },
	{ SYS_fcntl, 1, WHOLE, F_SETFL },
	{ SYS_fcntl, 1, WHOLE, F_OFD_SETLK },
	/* stdio: is this a terminal? */
	{ SYS_ioctl, 1, WHOLE, TCGETS },
};

/* Of a connection: no delay, and keys for the kernel's TLS. */
static const struct socket_option {
	uint32_t level;
	uint32_t name;
} socket_options[] = {
	{ IPPROTO_TCP, TCP_NODELAY },
	{ IPPROTO_TCP, TCP_ULP },
	{ SOL_TLS, TLS_TX },
};

/* Nothing is made, written or shortened by it. */
static const struct condition helper_conditions[] = {
	{ SYS_openat, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
};

/* ---- calls that are answered: libraries try them, and can do without ---- */

static const struct answer {
	int call;
	int error;
} answers[] = {
	/* Its flags are in memory, where a filter cannot look. */
	{ SYS_clone3, ENOSYS },
	{ SYS_prctl, EINVAL },
	{ SYS_membarrier, ENOSYS },
};

/* ---- the filter ---- */

enum {
	HEAD = 4,      /* instructions: what add_head() adds, */
	EACH_CALL = 2, /* for a call, or an answer, */
	EACH_CONDITION = 6,
	EACH_OPTION = 5,
	OPTIONS = 2 + EACH_OPTION * ARRAY_LEN(socket_options),
	SHUTDOWN = 3 + 2 * LISTENERS_MAX,
	TAIL = 1,
	FILTER_MAX =
		HEAD + EACH_CALL * (ARRAY_LEN(daemon_calls) + ARRAY_LEN(answers) + 1) +
		EACH_CONDITION * (ARRAY_LEN(memory_conditions) + ARRAY_LEN(daemon_conditions) + 1) +
		OPTIONS + SHUTDOWN + TAIL,
};
_Static_assert(ARRAY_LEN(helper_calls) <= ARRAY_LEN(daemon_calls) &&
		       ARRAY_LEN(helper_conditions) <= ARRAY_LEN(daemon_conditions),
	       "FILTER_MAX is the daemon's");

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short nr;
	unsigned int nr_allowed; /* calls */
};

static void add(struct filter *filter, struct sock_filter instruction)
{
	assert(filter->nr < FILTER_MAX);
	filter->code[filter->nr++] = instruction;
}

static void load(struct filter *filter, size_t at)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)at));
}

/* Go on with the next instruction when they are equal, else leave out @others. */
static void unless_equal_skip(struct filter *filter, uint32_t value, uint8_t others)
{
	add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, others));
}

static void answer(struct filter *filter, uint32_t action)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* The calls of 32-bit programs have other numbers; those of x32 have numbers nobody lists. */
static void add_head(struct filter *filter)
{
	load(filter, offsetof(struct seccomp_data, arch));
	add(filter,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	answer(filter, SECCOMP_RET_KILL_PROCESS);
	load(filter, offsetof(struct seccomp_data, nr));
}

static void add_call(struct filter *filter, int call, uint32_t action)
{
	unless_equal_skip(filter, (uint32_t)call, 1);
	answer(filter, action);
}

static void add_calls(struct filter *filter, const int *calls, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		add_call(filter, calls[i], SECCOMP_RET_ALLOW);
	filter->nr_allowed += (unsigned int)nr;
}

static void add_condition(struct filter *filter, const struct condition *condition)
{
	unless_equal_skip(filter, (uint32_t)condition->call, EACH_CONDITION - 1);
	/* Little-endian: the lower half comes first. */
	load(filter, offsetof(struct seccomp_data, args) + 8 * condition->argument);
	add(filter, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, condition->mask));
	unless_equal_skip(filter, condition->value, 1);
	answer(filter, SECCOMP_RET_ALLOW);
	/* There may be another condition for the call. */
	load(filter, offsetof(struct seccomp_data, nr));
	filter->nr_allowed++;
}

static void add_conditions(struct filter *filter, const struct condition *all, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		add_condition(filter, &all[i]);
}

static void allow_socket_options(struct filter *filter)
{
	unless_equal_skip(filter, SYS_setsockopt, OPTIONS - 1);
	for (size_t i = 0; i < ARRAY_LEN(socket_options); i++) {
		load(filter, offsetof(struct seccomp_data, args[1]));
		unless_equal_skip(filter, socket_options[i].level, EACH_OPTION - 2);
		load(filter, offsetof(struct seccomp_data, args[2]));
		unless_equal_skip(filter, socket_options[i].name, 1);
		answer(filter, SECCOMP_RET_ALLOW);
	}
	load(filter, offsetof(struct seccomp_data, nr));
	filter->nr_allowed++;
}

/*
 * Of connections, but of no listener: one that has been shut down is a socket again,
 * and sendmsg() with MSG_FASTOPEN, which neither a filter nor a ring's restrictions
 * can tell from a reply, would connect it to anywhere.
 */
static void allow_shutdown(struct filter *filter, const struct sandbox_plan *plan)
{
	const unsigned int nr = plan->nr_listeners;

	unless_equal_skip(filter, SYS_shutdown, (uint8_t)(2 + 2 * nr));
	load(filter, offsetof(struct seccomp_data, args));
	for (unsigned int i = 0; i < nr; i++)
		add_call(filter, plan->listeners[i], SECCOMP_RET_KILL_PROCESS);
	answer(filter, SECCOMP_RET_ALLOW);
	filter->nr_allowed++;
}

/* What both have at the end of their lists, and the end. */
static void add_common(struct filter *filter)
{
	/* abort() sends itself a signal. */
	const struct condition own_signals = { SYS_tgkill, 0, WHOLE, (uint32_t)getpid() };

	add_conditions(filter, memory_conditions, ARRAY_LEN(memory_conditions));
	add_condition(filter, &own_signals);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		add_call(filter, answers[i].call, SECCOMP_RET_ERRNO | (uint32_t)answers[i].error);
	/* A tracer (strace's fault injection) that answers a call itself makes it number -1. */
	add_call(filter, -1, SECCOMP_RET_ALLOW);
	answer(filter, SECCOMP_RET_KILL_PROCESS);
}

/* For all threads, should a library have made one. */
static int enter(struct filter *filter)
{
	const struct sock_fprog program = { .len = filter->nr, .filter = filter->code };
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);

	if (r < 0)
		return -errno;
	return r > 0 ? -EBUSY : 0; /* r: a thread that has a filter of its own */
}

int seccomp_enter(const struct sandbox_plan *plan, unsigned int *ret_nr_calls)
{
	struct filter filter = { .nr = 0 };

	if (plan->nr_listeners > LISTENERS_MAX)
		return -E2BIG;
	add_head(&filter);
	add_calls(&filter, daemon_calls, ARRAY_LEN(daemon_calls));
	add_conditions(&filter, daemon_conditions, ARRAY_LEN(daemon_conditions));
	allow_socket_options(&filter);
	allow_shutdown(&filter, plan);
	add_common(&filter);
	*ret_nr_calls = filter.nr_allowed;
	return enter(&filter);
}

int seccomp_enter_helper(void)
{
	struct filter filter = { .nr = 0 };

	add_head(&filter);
	add_calls(&filter, helper_calls, ARRAY_LEN(helper_calls));
	add_conditions(&filter, helper_conditions, ARRAY_LEN(helper_conditions));
	add_common(&filter);
	return enter(&filter);
}
