/* SPDX-License-Identifier: MIT */
/*
 * Calls that the libaio engine makes, in the way of the real ones: they go on to the
 * kernel unless a test wants them to behave badly. Each test is a process of its own.
 */
#ifndef UNIT_RING_FAKE_KERNEL_H
#define UNIT_RING_FAKE_KERNEL_H

#include <stdbool.h>

struct fake_kernel {
	bool cold;		   /* the page cache has nothing */
	int setup_max;		   /* io_setup() of more than these is -EAGAIN; 0: no limit */
	bool takes_little;	   /* io_submit() takes one, and every other time none */
	bool no_fdsync;		   /* IOCB_CMD_FDSYNC is -EINVAL at io_submit() */
	int fdsync_error;	   /* 0, or what the completion of an FDSYNC says */
	int setup_entries;	   /* of the last io_setup() that went well */
	unsigned int nr_reads;	   /* io_submit() took */
	unsigned int nr_fdatasync; /* calls of fdatasync() */
};

extern struct fake_kernel fake_kernel;

#endif
