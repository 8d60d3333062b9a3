/* SPDX-License-Identifier: MIT */
#include "powercut/client.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "powercut/util.h"
#include "sealblk/nbd_wire.h"

static void send_all(int fd, const void *from, size_t bytes)
{
	const uint8_t *at = from;

	while (bytes > 0) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

		if (n < 0)
			die(errno, "send");
		at += n;
		bytes -= (size_t)n;
	}
}

static void receive_all(int fd, void *to, size_t bytes)
{
	ssize_t n = recv(fd, to, bytes, MSG_WAITALL);

	if (n < 0 || (size_t)n != bytes)
		die(n < 0 ? errno : 0, "the server has closed the connection");
}

struct client client_connect(const char *socket_path, const char *export_name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct client client = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	size_t name_bytes = strlen(export_name);
	be32 flags = be32_of(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
	struct nbd_greeting greeting;
	struct nbd_option option = {
		.magic = be64_of(NBD_OPTION_MAGIC),
		.option = be32_of(NBD_OPT_EXPORT_NAME),
		.data_bytes = be32_of((uint32_t)name_bytes),
	};
	struct nbd_export_name_reply reply;

	if (strlen(socket_path) >= sizeof(address.sun_path))
		die(ENAMETOOLONG, "%s", socket_path);
	strcpy(address.sun_path, socket_path);
	if (connect(client.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(errno, "%s", socket_path);
	receive_all(client.fd, &greeting, sizeof(greeting));
	if (be64_get(greeting.magic) != NBD_MAGIC)
		die(0, "%s: not an NBD server", socket_path);
	send_all(client.fd, &flags, sizeof(flags));
	send_all(client.fd, &option, sizeof(option));
	send_all(client.fd, export_name, name_bytes);
	receive_all(client.fd, &reply, offsetof(struct nbd_export_name_reply, zeroes));
	client.disk_bytes = be64_get(reply.export_bytes);
	return client;
}

void client_send(struct client *client, const struct client_request *request)
{
	struct nbd_request head = {
		.magic = be32_of(NBD_REQUEST_MAGIC),
		.flags = be16_of(request->flags),
		.command = be16_of(request->command),
		.cookie = be64_of(request->cookie),
		.offset_bytes = be64_of(request->offset_bytes),
		.length_bytes = be32_of(request->length_bytes),
	};

	send_all(client->fd, &head, sizeof(head));
	if (request->command == NBD_CMD_WRITE)
		send_all(client->fd, request->payload, request->length_bytes);
}

uint64_t client_receive(struct client *client)
{
	struct nbd_simple_reply reply;

	receive_all(client->fd, &reply, sizeof(reply));
	if (be32_get(reply.magic) != NBD_SIMPLE_REPLY_MAGIC)
		die(0, "not a reply");
	if (be32_get(reply.error) != NBD_OK)
		die(0, "a request was answered with error %u", be32_get(reply.error));
	return be64_get(reply.cookie);
}

void client_receive_data(struct client *client, uint8_t *to, uint32_t bytes)
{
	receive_all(client->fd, to, bytes);
}
