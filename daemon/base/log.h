/* SPDX-License-Identifier: MIT */
/*
 * Lines for people, on stderr. Only edges log: pure folders return codes.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/compiler.h"

enum log_level {
	LOG_LEVEL_ERROR,   /* "sealblkd: error: ..." */
	LOG_LEVEL_WARNING, /* "sealblkd: warning: ..." */
	LOG_LEVEL_INFO,	   /* "sealblkd: ..."; the default */
	LOG_LEVEL_DEBUG,   /* "sealblkd: debug: ..." */
};

enum { LOG_LINE_BYTES_MAX = 1024 }; /* with the newline; longer lines end in "..." */

/*
 * First thing in main(): where 0, 1 or 2 is closed, the next file opened would
 * get that number, and an image would receive our messages. What is written to
 * a descriptor that was closed fails, as before. Returns 0 or a negative errno.
 */
int MUST_CHECK log_reserve_standard_fds(void);

/* Lines above @level are dropped from here on. From any thread. */
void log_set_level(enum log_level level);

/*
 * One line; @fmt has no newline at its end, and control characters in what it
 * prints come out as '?'. A single write(2), so that the lines of threads do
 * not mix. Allocates nothing, keeps errno, ignores a stderr that is gone. May
 * block on stderr. From any thread.
 */
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
