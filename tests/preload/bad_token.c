/* SPDX-License-Identifier: MIT */
/*
 * A PKCS#11 module that is no good. $BAD_TOKEN says in which way: hang, crash, or
 * print and fail.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GENERAL_ERROR = 5 };

unsigned long C_GetFunctionList(void **list);

unsigned long C_GetFunctionList(void **list)
{
	const char *how = getenv("BAD_TOKEN");

	*list = NULL;
	if (how && strcmp(how, "crash") == 0)
		raise(SIGSEGV);
	while (how && strcmp(how, "hang") == 0)
		pause();
	puts("a module that prints what could be taken for a key");
	fflush(stdout);
	return GENERAL_ERROR;
}
