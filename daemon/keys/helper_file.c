/* SPDX-License-Identifier: MIT */
/* Whole files by way of the helper: see helper.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/helper.h"

static int read_whole(int fd, char *bytes, size_t bytes_max, size_t *ret_nr)
{
	size_t nr = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	while (nr <= bytes_max) {
		ssize_t n = read(fd, bytes + nr, bytes_max + 1 - nr);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0) {
			bytes[nr] = '\0';
			*ret_nr = nr;
			return 0;
		}
		if (n > 0)
			nr += (size_t)n;
	}
	return -EFBIG;
}

int helper_read_file(struct helper *helper, const char *path, void *bytes, size_t bytes_max,
		     size_t *ret_nr)
{
	int fd;
	int r = helper_open(helper, path, O_RDONLY | O_NONBLOCK, &fd);

	if (r < 0)
		return r;
	r = read_whole(fd, bytes, bytes_max, ret_nr);
	close(fd);
	return r;
}
