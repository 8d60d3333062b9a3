/* SPDX-License-Identifier: MIT */
/*
 * Runs a program under a seccomp filter as systemd's SystemCallFilter= makes it: the
 * calls whose names are the lines of a file are allowed, all others fail.
 *
 *   run_filtered FILE PROGRAM [ARGUMENT]...
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Names that this architecture does not have are in systemd's sets, too. */
static int allow_listed(scmp_filter_ctx filter, FILE *names)
{
	char name[64];
	int r = 0;

	while (r == 0 && fgets(name, sizeof(name), names)) {
		int call;

		name[strcspn(name, "\n")] = '\0';
		call = seccomp_syscall_resolve_name(name);
		if (call >= 0)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
	}
	return r;
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	FILE *names = argc > 2 ? fopen(argv[1], "re") : NULL;

	if (!filter || !names)
		return 2;
	if (allow_listed(filter, names) < 0 || seccomp_load(filter) < 0) {
		fprintf(stderr, "run_filtered: the filter cannot be set up\n");
		return 2;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
