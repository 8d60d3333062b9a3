/* SPDX-License-Identifier: MIT */
/* The verbs of the program powercut; each gets what follows its name, and returns an exit status. */
#ifndef TESTS_POWERCUT_VERBS_H
#define TESTS_POWERCUT_VERBS_H

int verb_log(char **arguments);
int verb_replay(char **arguments);
int verb_load(char **arguments);
int verb_verify(char **arguments);
int verb_files_write(char **arguments);
int verb_files_check(char **arguments);
int verb_device(char **arguments);
int verb_reconnect(char **arguments);

#endif
