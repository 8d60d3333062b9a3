/* SPDX-License-Identifier: MIT */
/*
 * powercut: loads that know what they were promised, a replayer of logs of writes,
 * and judges of what is left after a cut. Each verb is described where it is.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "powercut/verbs.h"

static const struct {
	const char *name;
	int nr_arguments;
	int (*run)(char **arguments);
} verbs[] = {
	{ "log", 1, verb_log },
	{ "replay", 5, verb_replay },
	{ "load", 7, verb_load },
	{ "verify", 5, verb_verify },
	{ "files-write", 5, verb_files_write },
	{ "files-check", 5, verb_files_check },
	{ "device", 3, verb_device },
	{ "reconnect", 2, verb_reconnect },
};

/* What a verb has allocated ends with the process, without a search for leaks. */
static _Noreturn void leave(int status)
{
	if (fflush(stdout) != 0)
		status = 1;
	_exit(status);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0 && argc - 2 == verbs[i].nr_arguments)
			leave(verbs[i].run(argv + 2));
	fprintf(stderr, "powercut: which verb, with which arguments: see tests/powercut/\n");
	return 2;
}
