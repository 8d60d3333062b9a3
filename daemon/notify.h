/* SPDX-License-Identifier: MIT */
/*
 * What a service manager is told: the datagrams of sd_notify(3). Not by libsystemd,
 * which makes a socket and connects it each time: in the sandbox neither can be done.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include "base/compiler.h"

/*
 * Connect to $NOTIFY_SOCKET. Returns a descriptor, or -1: there is no service
 * manager, or it cannot be reached. Before the sandbox; does not block.
 */
int MUST_CHECK notify_open(void);

/* Tell it "NAME=VALUE" lines. @fd: -1 is accepted. Who cannot be told is not. */
void notify_say(int fd, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
