/* SPDX-License-Identifier: MIT */
/* What must be true of a world, and the report when it is not. */
#ifndef TESTS_SIM_VERIFY_H
#define TESTS_SIM_VERIFY_H

#include "sim/explore.h"

/* Say what is wrong and where, and end the process. */
void verify_failed(const struct explorer *x, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

/* The same for what sector @n of those under test reads as. */
void verify_failed_content(const struct explorer *x, uint32_t n, uint32_t found,
			   const struct content_set *allowed) __attribute__((noreturn));

/* A closed world opens. */
void verify_opens(struct explorer *x, struct world *world);

/*
 * @world is open: does it read as @oracle allows after @severity, are its sectors
 * counted right, and is every place that no entry names empty? (The last is not
 * asked with SEVERITY_NONE: there may still be something to punch.) The contents
 * found go to @ret_contents.
 */
void verify_world(struct explorer *x, struct world *world, const struct oracle *oracle,
		  enum severity severity, uint32_t ret_contents[ORACLE_SECTORS_MAX]);

/* What was just read is certain from now on. */
struct oracle verify_oracle(const struct world *world, const uint32_t contents[ORACLE_SECTORS_MAX]);

/*
 * Close @world, which is open, and look: equal slots, clean superblocks, no
 * superseded data; then open it again and verify.
 */
void verify_close(struct explorer *x, struct world *world, const struct oracle *oracle);

#endif
