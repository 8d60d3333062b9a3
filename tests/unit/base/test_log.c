/* SPDX-License-Identifier: MIT */
/* Log lines, caught in a pipe that stands in for stderr. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int caught_fd = -1;
static char caught[4 * LOG_LINE_BYTES_MAX];

static void catch_stderr(void)
{
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
	close(ends[1]);
	cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	caught_fd = ends[0];
}

/* What one read finds, as a string; "" when nothing was written. */
static const char *caught_text(void)
{
	ssize_t n = read(caught_fd, caught, sizeof(caught) - 1);

	caught[n > 0 ? n : 0] = '\0';
	return caught;
}

TestSuite(log, .init = catch_stderr);

Test(log, names_the_program_and_what_is_serious)
{
	log_line(LOG_LEVEL_ERROR, "disk %d is gone", 7);
	cr_expect_str_eq(caught_text(), "sealblkd: error: disk 7 is gone\n");
	log_line(LOG_LEVEL_WARNING, "slow");
	cr_expect_str_eq(caught_text(), "sealblkd: warning: slow\n");
	log_line(LOG_LEVEL_INFO, "ready");
	cr_expect_str_eq(caught_text(), "sealblkd: ready\n");
}

Test(log, is_silent_above_the_level)
{
	log_line(LOG_LEVEL_DEBUG, "hidden at first");
	cr_expect_str_empty(caught_text());
	log_set_level(LOG_LEVEL_DEBUG);
	log_line(LOG_LEVEL_DEBUG, "shown");
	cr_expect_str_eq(caught_text(), "sealblkd: debug: shown\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_line(LOG_LEVEL_WARNING, "hidden");
	cr_expect_str_empty(caught_text());
}

Test(log, cuts_a_long_line_and_shows_that_it_did)
{
	char text[2 * LOG_LINE_BYTES_MAX];
	const char *line;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_line(LOG_LEVEL_INFO, "%s", text);
	line = caught_text();
	cr_expect_eq(strlen(line), (size_t)LOG_LINE_BYTES_MAX);
	cr_expect_str_eq(line + LOG_LINE_BYTES_MAX - 5, "x...\n");
}

Test(log, leaves_a_line_alone_that_just_fits)
{
	char text[LOG_LINE_BYTES_MAX - sizeof("sealblkd: ") + 1];
	const char *line;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_line(LOG_LEVEL_INFO, "%s", text);
	line = caught_text();
	cr_expect_eq(strlen(line), (size_t)LOG_LINE_BYTES_MAX);
	cr_expect_str_eq(line + LOG_LINE_BYTES_MAX - 5, "xxxx\n");
}

Test(log, does_not_let_a_name_forge_a_line_or_steer_a_terminal)
{
	log_line(LOG_LEVEL_INFO, "export %s", "a\nsealblkd: ready\033[2J\177\303\266");
	cr_expect_str_eq(caught_text(), "sealblkd: export a?sealblkd: ready?[2J?\303\266\n");
}

Test(log, keeps_errno_even_when_stderr_is_gone)
{
	errno = ENOSPC;
	log_line(LOG_LEVEL_INFO, "to the pipe");
	cr_expect_eq(errno, ENOSPC);
	close(STDERR_FILENO);
	log_line(LOG_LEVEL_INFO, "to nobody");
	cr_expect_eq(errno, ENOSPC);
}
