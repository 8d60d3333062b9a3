/* SPDX-License-Identifier: MIT */
/* Block devices that are there: see attach_device.h. */
#include "attach_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
	TRIES = 200,
	TRY_MS = 50,
};

static bool is_usable(const struct attached *attached, uint64_t wanted_bytes)
{
	int fd = open(attached->device, O_RDONLY | O_CLOEXEC);
	uint64_t bytes = 0;
	bool usable;

	if (fd < 0)
		return false;
	usable = ioctl(fd, BLKGETSIZE64, &bytes) == 0 && bytes == wanted_bytes;
	close(fd);
	return usable;
}

bool attach_device_wait(bool (*is_so)(const struct attached *attached, uint64_t arg),
			const struct attached *attached, uint64_t arg)
{
	const struct timespec pause = { .tv_nsec = TRY_MS * 1000000 };

	for (int i = 0; i < TRIES; i++) {
		if (is_so(attached, arg))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

bool attach_device_wait_usable(const struct attached *attached, uint64_t wanted_bytes)
{
	return attach_device_wait(is_usable, attached, wanted_bytes);
}

int attach_device_claim(const struct attached *attached, int *ret_fd, struct problem *problem)
{
	int fd = open(attached->device, O_RDONLY | O_EXCL | O_CLOEXEC);
	int r = -errno;

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	if (r == -EBUSY)
		problem_set(problem, "device", attached->device,
			    "is in use: unmount it, or say --force and lose what is not yet "
			    "written");
	else
		problem_set(problem, "device", attached->device, "cannot be opened: %s",
			    strerror(-r));
	return r;
}
