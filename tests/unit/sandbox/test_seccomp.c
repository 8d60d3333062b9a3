/* SPDX-License-Identifier: MIT */
/* System calls by number, and what /proc says of a process in the sandbox. */
#include "attempt.h"

#include <sys/syscall.h>

/* The calls of 32-bit programs have numbers of their own: 20 is getpid. */
static int call_as_32_bit(void)
{
#ifdef __x86_64__
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(20L)
			 : "memory", "r8", "r9", "r10", "r11");
	return result < 0 ? -1 : 0;
#else
	return (int)syscall(SYS_execve, NULL, NULL, NULL);
#endif
}

/* Made by number: some have no function. All with arguments that would be refused anyway. */
static const struct {
	const char *what;
	long number;
} calls[] = {
	{ "mount", SYS_mount },
	{ "umount2", SYS_umount2 },
	{ "chroot", SYS_chroot },
	{ "pivot_root", SYS_pivot_root },
	{ "unshare", SYS_unshare },
	{ "setns", SYS_setns },
	{ "bpf", SYS_bpf },
	{ "perf_event_open", SYS_perf_event_open },
	{ "userfaultfd", SYS_userfaultfd },
	{ "keyctl", SYS_keyctl },
	{ "add_key", SYS_add_key },
	{ "request_key", SYS_request_key },
	{ "memfd_create", SYS_memfd_create },
	{ "pidfd_open", SYS_pidfd_open },
	{ "pidfd_getfd", SYS_pidfd_getfd },
	{ "process_vm_writev", SYS_process_vm_writev },
	{ "kcmp", SYS_kcmp },
	{ "execveat", SYS_execveat },
	{ "open_by_handle_at", SYS_open_by_handle_at },
	{ "init_module", SYS_init_module },
	{ "kexec_load", SYS_kexec_load },
	{ "personality", SYS_personality },
	{ "setuid", SYS_setuid },
	{ "capset", SYS_capset },
	{ "chmod", SYS_chmod },
	{ "chown", SYS_chown },
	{ "rename", SYS_rename },
	{ "link", SYS_link },
	{ "symlink", SYS_symlink },
	{ "mkdir", SYS_mkdir },
	{ "mknod", SYS_mknod },
	{ "truncate", SYS_truncate },
	{ "setxattr", SYS_setxattr },
	{ "readlink", SYS_readlink },
	{ "io_setup", SYS_io_setup },
	{ "socketpair", SYS_socketpair },
	{ "shmget", SYS_shmget },
	{ "setrlimit", SYS_setrlimit },
	{ "prlimit64", SYS_prlimit64 },
	{ "reboot", SYS_reboot },
	{ "seccomp", SYS_seccomp },
	{ "the next that Linux gets", 4000 },
};

static long number_of_call;

static int make_call(void)
{
	return (int)syscall(number_of_call, -1L, -1L, -1L, -1L, -1L, -1L);
}

Test(sandbox, kills_whoever_makes_a_system_call_that_is_not_listed, .init = set_up, .fini = done)
{
	(void)state_or_skip();
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		number_of_call = calls[i].number;
		cr_expect_eq(outcome(make_call), KILLED, "%s", calls[i].what);
	}
	/* Where the kernel runs no 32-bit programs, this is a fault. */
	cr_expect_geq(outcome(call_as_32_bit), KILLED, "32-bit call");
}

/* The line of /proc/PID/status that begins with @name. */
static unsigned long long status_of(pid_t pid, const char *name)
{
	char path[32], line[256];
	unsigned long long value = ~0ULL;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	cr_assert_not_null(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			value = strtoull(line + strlen(name) + 1, NULL, 16);
	fclose(file);
	return value;
}

Test(sandbox, leaves_no_capability_and_no_way_to_get_one, .init = set_up, .fini = done)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
	int ready[2], end[2];
	char byte = 0;
	pid_t pid;

	(void)state_or_skip();
	cr_assert_eq(pipe(ready) + pipe(end), 0);
	pid = fork();
	if (pid == 0) {
		struct sandbox_state state;

		close(end[1]);
		_exit(enter(&state) < 0 || write(ready[1], &byte, 1) < 0 ||
		      read(end[0], &byte, 1) < 0);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		cr_expect_eq(status_of(pid, sets[i]), 0, "%s", sets[i]);
	/* Whoever cannot empty it (not root) is kept from it by the next. */
	if (geteuid() == 0)
		cr_expect_eq(status_of(pid, "CapBnd"), 0);
	cr_expect_eq(status_of(pid, "NoNewPrivs"), 1);
	cr_expect_eq(status_of(pid, "Seccomp"), 2, "a filter");
	close(end[1]);
	waitpid(pid, NULL, 0);
}
