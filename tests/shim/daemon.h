/* SPDX-License-Identifier: MIT */
/*
 * The hands of a daemon of dm-sealblk, for those that do wrong with them; and users of its
 * disk. What is not as it must be ends the program with 1.
 */
#ifndef TESTS_SHIM_DAEMON_H
#define TESTS_SHIM_DAEMON_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "sealblk/shim_uapi.h"

enum { ALIGN = 4096 };

/* The block device, its node, its length: from main(). */
struct disk {
	const char *device;
	const char *node;
	unsigned long long sectors;
};
extern struct disk disk;

void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
void want(const char *what, long wanted, long got);
/* Of a system call: 0 or a negative errno. */
int errno_of(long result);

struct daemon {
	int fd;
	struct io_uring ring;
	struct shim_start start; /* the kernel's answer */
	const struct shim_request *requests;
	uint8_t *data;
};

struct shim_start good_start(void);
void daemon_open(struct daemon *daemon);
int daemon_say(struct daemon *daemon, struct shim_start start);
size_t daemon_requests_bytes(const struct daemon *daemon);
size_t daemon_data_bytes(const struct daemon *daemon);
void daemon_map(struct daemon *daemon);
/* All three; and the end of it, the node first: what is parked there is in the ring's way. */
void daemon_begin(struct daemon *daemon);
void daemon_end(struct daemon *daemon);

void daemon_send(struct daemon *daemon, uint32_t number, struct shim_command command);
/* Returns the tag, *ret_result what its completion says. */
unsigned int daemon_receive(struct daemon *daemon, int *ret_result);
int daemon_command(struct daemon *daemon, uint32_t number, struct shim_command payload);
void daemon_fetch(struct daemon *daemon, uint16_t tag);
int daemon_commit(struct daemon *daemon, uint16_t tag, int result);
/* Wait until a request is under @tag. */
const struct shim_request *daemon_take(struct daemon *daemon, uint16_t tag);

/* Writes a page of @byte at @sector, or reads one that must be that. */
pid_t start_user(bool writes, unsigned int sector, int byte);
/* Waits for its end: 0, or its errno. */
int user_error(pid_t pid);

/* cases.c, garbage.c */
void run_cases(void);
void garbage(unsigned int seconds);

#endif
