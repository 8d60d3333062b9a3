/* SPDX-License-Identifier: MIT */
/*
 * A small NBD client, for where libnbd is not: blocking, simple replies. Whatever
 * is not as it must be ends the program.
 */
#ifndef TESTS_POWERCUT_CLIENT_H
#define TESTS_POWERCUT_CLIENT_H

#include <stdint.h>

struct client {
	int fd;
	uint64_t disk_bytes;
};

struct client_request {
	uint16_t command; /* NBD_CMD_ */
	uint16_t flags;
	uint64_t cookie;
	uint64_t offset_bytes;
	uint32_t length_bytes;
	const uint8_t *payload; /* of a write */
};

struct client client_connect(const char *socket_path, const char *export_name);
void client_send(struct client *client, const struct client_request *request);

/* The cookie of the next reply; an error in it ends the program. */
uint64_t client_receive(struct client *client);

/* The data that follows the reply to a read. */
void client_receive_data(struct client *client, uint8_t *to, uint32_t bytes);

#endif
