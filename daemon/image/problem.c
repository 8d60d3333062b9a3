/* SPDX-License-Identifier: MIT */
/* Problem texts: see problem.h. */
#include "image/problem.h"

#include <stdarg.h>
#include <stdio.h>

void problem_set(struct problem *problem, const char *what, const char *path, const char *fmt, ...)
{
	const size_t room = sizeof(problem->text);
	int used = snprintf(problem->text, room, "%s %s: ", what, path);
	va_list args;

	if (used < 0 || (size_t)used >= room)
		return;
	va_start(args, fmt);
	vsnprintf(problem->text + used, room - (size_t)used, fmt, args);
	va_end(args);
}
