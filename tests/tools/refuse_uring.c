/* SPDX-License-Identifier: MIT */
/*
 * Runs a program that the kernel refuses io_uring, as containers do.
 *
 *   refuse_uring EPERM|ENOSYS PROGRAM [ARGUMENT]...
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	uint32_t refuse = SCMP_ACT_ERRNO(EPERM);

	if (argc < 3 || !filter)
		return 2;
	if (strcmp(argv[1], "ENOSYS") == 0)
		refuse = SCMP_ACT_ERRNO(ENOSYS);
	if (seccomp_rule_add(filter, refuse, SCMP_SYS(io_uring_setup), 0) < 0 ||
	    seccomp_load(filter) < 0) {
		fprintf(stderr, "refuse_uring: the filter cannot be set up\n");
		return 2;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
