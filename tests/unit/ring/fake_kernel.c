/* SPDX-License-Identifier: MIT */
/* See fake_kernel.h: the linker takes these before those of the libraries. */
#include "fake_kernel.h"

#include <errno.h>
#include <libaio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct fake_kernel fake_kernel;

static int result_of(long res)
{
	return res < 0 ? -errno : (int)res;
}

int io_setup(int maxevents, io_context_t *ctxp)
{
	int r;

	if (fake_kernel.setup_max > 0 && maxevents > fake_kernel.setup_max)
		return -EAGAIN;
	r = result_of(syscall(SYS_io_setup, maxevents, ctxp));
	if (r == 0)
		fake_kernel.setup_entries = maxevents;
	return r;
}

int io_submit(io_context_t ctx, long nr, struct iocb *ios[])
{
	static unsigned int nr_calls;
	int taken;

	if (fake_kernel.takes_little && ++nr_calls % 2 == 0)
		return -EAGAIN;
	if (fake_kernel.takes_little)
		nr = 1;
	if (fake_kernel.no_fdsync && ios[0]->aio_lio_opcode == IO_CMD_FDSYNC)
		return -EINVAL;
	taken = result_of(syscall(SYS_io_submit, ctx, nr, ios));
	for (int i = 0; i < taken; i++)
		fake_kernel.nr_reads += ios[i]->aio_lio_opcode == IO_CMD_PREAD;
	return taken;
}

int io_getevents(io_context_t ctx_id, long min_nr, long nr, struct io_event *events,
		 struct timespec *timeout)
{
	int got = result_of(syscall(SYS_io_getevents, ctx_id, min_nr, nr, events, timeout));

	for (int i = 0; fake_kernel.fdsync_error < 0 && i < got; i++)
		if (events[i].obj->aio_lio_opcode == IO_CMD_FDSYNC)
			events[i].res = (unsigned long)fake_kernel.fdsync_error;
	return got;
}

int fdatasync(int fildes)
{
	fake_kernel.nr_fdatasync++;
	return (int)syscall(SYS_fdatasync, fildes);
}

ssize_t preadv2(int fd, const struct iovec *iovec, int count, off_t offset, int flags)
{
	if (fake_kernel.cold && (flags & RWF_NOWAIT)) {
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_preadv2, fd, iovec, (long)count, offset, 0L, flags);
}
