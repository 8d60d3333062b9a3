/* SPDX-License-Identifier: MIT */
/*
 * The line is built in a buffer on the stack, so that threads share nothing
 * but the level and the file descriptor.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const log_prefixes[] = {
	[LOG_LEVEL_ERROR] = "sealblkd: error: ",
	[LOG_LEVEL_WARNING] = "sealblkd: warning: ",
	[LOG_LEVEL_INFO] = "sealblkd: ",
	[LOG_LEVEL_DEBUG] = "sealblkd: debug: ",
};

static atomic_int log_level_shown = LOG_LEVEL_INFO;

int log_reserve_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -errno : close(fd);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level_shown, level, memory_order_relaxed);
}

/*
 * What a client chose (an export name, say) may be part of a line: it must not
 * begin lines of its own nor steer a terminal. Bytes from 128 on are UTF-8's.
 */
static void log_defuse(char *text, size_t nr_bytes)
{
	for (size_t i = 0; i < nr_bytes; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
}

PRINTF_LIKE(3, 0)
static size_t log_format(char line[static LOG_LINE_BYTES_MAX], enum log_level level,
			 const char *fmt, va_list args)
{
	size_t used = strlen(log_prefixes[level]);
	int wanted;

	memcpy(line, log_prefixes[level], used);
	wanted = vsnprintf(line + used, LOG_LINE_BYTES_MAX - used, fmt, args);
	if (wanted < 0)
		wanted = 0;
	used += (size_t)wanted;
	if (used >= LOG_LINE_BYTES_MAX) {
		used = LOG_LINE_BYTES_MAX - 1;
		memcpy(line + used - 3, "...", 3);
	}
	log_defuse(line, used);
	line[used] = '\n';
	return used + 1;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	UNINITIALIZED char line[LOG_LINE_BYTES_MAX];
	size_t nr_bytes;
	ssize_t written;
	va_list args;

	if ((int)level > atomic_load_explicit(&log_level_shown, memory_order_relaxed))
		return;

	va_start(args, fmt);
	nr_bytes = log_format(line, level, fmt, args);
	va_end(args);

	written = write(STDERR_FILENO, line, nr_bytes);
	(void)written; /* nobody can be told when stderr fails */
	errno = saved_errno;
}
