/* SPDX-License-Identifier: MIT */
/* Key memory: zeroed, guarded, locked, undumpable, wiped on fork. */
#include "keys/key_mem.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"

/* AddressSanitizer turns mlock() into nothing: it would lock its shadow too. */
#ifdef __SANITIZE_ADDRESS__
enum { LOCKS = 0 };
#else
enum { LOCKS = 1 };
#endif

static const size_t sizes[] = { 1, 16, 32, 4095, 4096, 4097, 3 * 4096 };

Test(key_mem, is_zeroed_aligned_and_writable_to_the_last_byte)
{
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t *p = key_mem_new(sizes[i]);

		cr_assert_not_null(p);
		cr_expect_eq((uintptr_t)p % 16, 0);
		for (size_t n = 0; n < sizes[i]; n++)
			cr_assert_eq(p[n], 0, "byte %zu of %zu", n, sizes[i]);
		memset(p, 0xff, sizes[i]);
		cr_expect_null(key_mem_free(p));
	}
}

Test(key_mem, free_accepts_null)
{
	cr_expect_null(key_mem_free(NULL));
}

Test(key_mem, refuses_sizes_that_are_no_key)
{
	errno = 0;
	cr_expect_null(key_mem_new(0));
	cr_expect_eq(errno, EINVAL);
	cr_expect_null(key_mem_new(SIZE_MAX));
}

/*
 * In a child of its own: what changes the process for good also stops the leak
 * checker of a sanitized build.
 */
static void expect_in_child(bool (*check)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check() ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
}

static volatile uint8_t sink;

Test(key_mem, stops_a_write_past_the_end, .signal = SIGSEGV)
{
	volatile uint8_t *p = key_mem_new(64);

	signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it instead */
	sink = p[63];
	p[64] = 1;
}

Test(key_mem, stops_a_write_before_the_pages, .signal = SIGSEGV)
{
	volatile uint8_t *p = key_mem_new(4096);

	signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it instead */
	p[-1] = 1;
}

Test(key_mem, is_gone_after_free, .signal = SIGSEGV)
{
	volatile uint8_t *p = key_mem_new(64);

	signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it instead */
	key_mem_free((void *)(uintptr_t)p);
	sink = p[0];
}

/* Does /proc/self/smaps carry @flag among the VmFlags of the mapping of @p? */
static bool has_vm_flag(const void *p, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool inside = false, found = false;
	unsigned long start, end;
	char line[512];

	cr_assert_not_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)p >= start && (uintptr_t)p < end;
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	fclose(smaps);
	return found;
}

Test(key_mem, is_locked_and_left_out_of_dumps_and_forks)
{
	static const char *const flags[] = { " dd", " wf", " lo" };
	uint8_t *p = key_mem_new(64);

	cr_assert_not_null(p);
	for (size_t i = 0; i < ARRAY_LEN(flags) - !LOCKS; i++)
		cr_expect(has_vm_flag(p, flags[i]), "VmFlags%s", flags[i]);
	key_mem_free(p);
}

Test(key_mem, is_wiped_in_a_forked_child_which_can_free_it)
{
	uint8_t *p = key_mem_new(64);
	int status;
	pid_t pid;

	cr_assert_not_null(p);
	memset(p, 0xaa, 64);
	pid = fork();
	if (pid == 0) {
		bool wiped = p[0] == 0 && p[63] == 0;

		key_mem_free(p);
		_exit(wiped ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
	cr_expect_eq(p[0], 0xaa, "the parent keeps its own");
	key_mem_free(p);
}

static bool fails_without_the_right_to_lock(void)
{
	const struct rlimit none = { 0, 0 };

	/* Root may lock whatever the limit says: become nobody. */
	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 || (geteuid() == 0 && seteuid(65534) < 0))
		return false;
	errno = 0;
	return key_mem_new(32) == NULL && errno == ENOMEM;
}

Test(key_mem, fails_when_it_may_not_be_locked)
{
	if (!LOCKS)
		cr_skip_test("mlock() does nothing here");
	expect_in_child(fails_without_the_right_to_lock);
}

static bool hardens(void)
{
	struct rlimit core;

	return key_mem_harden_process() == 0 && prctl(PR_GET_DUMPABLE) == 0 &&
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && getrlimit(RLIMIT_CORE, &core) == 0 &&
	       core.rlim_cur == 0 && core.rlim_max == 0;
}

Test(key_mem, hardened_process_cannot_be_dumped_or_gain_privileges)
{
	expect_in_child(hardens);
}
