/* SPDX-License-Identifier: MIT */
/*
 * powercut reconnect SOCKET DEVICE
 *
 * Gives the kernel's NBD client for DEVICE a new connection in the place of one that
 * is gone, by netlink. From then on, what waits for an answer from a connection that is
 * gone is sent again after three seconds, and requests wait up to a minute for a
 * connection. Where none is gone, only these times are set.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "powercut/client.h"
#include "powercut/util.h"
#include "powercut/verbs.h"

enum { MESSAGE_BYTES_MAX = 4096, RESEND_S = 3, WAIT_S = 60 };

struct message {
	union {
		struct nlmsghdr head;
		uint8_t bytes[MESSAGE_BYTES_MAX];
	};
};

static void *append(struct message *message, size_t bytes)
{
	void *at = message->bytes + NLMSG_ALIGN(message->head.nlmsg_len);

	if (NLMSG_ALIGN(message->head.nlmsg_len) + bytes > MESSAGE_BYTES_MAX)
		die(EMSGSIZE, "netlink");
	message->head.nlmsg_len = NLMSG_ALIGN(message->head.nlmsg_len) + (uint32_t)bytes;
	return at;
}

static struct message message_of(uint16_t family, uint8_t command)
{
	struct message message = { .head = { .nlmsg_len = NLMSG_HDRLEN,
					     .nlmsg_type = family,
					     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK } };
	struct genlmsghdr *head = append(&message, GENL_HDRLEN);

	*head = (struct genlmsghdr){ .cmd = command, .version = 1 };
	return message;
}

static struct nlattr *add_attribute(struct message *message, uint16_t type, const void *data,
				    size_t bytes)
{
	struct nlattr *attribute = append(message, NLA_HDRLEN + bytes);

	*attribute = (struct nlattr){ (uint16_t)(NLA_HDRLEN + bytes), type };
	if (bytes > 0)
		memcpy((uint8_t *)attribute + NLA_HDRLEN, data, bytes);
	return attribute;
}

/* All that was added since belongs into @attribute. */
static void end_nested(struct message *message, struct nlattr *attribute)
{
	attribute->nla_len =
		(uint16_t)(message->bytes + message->head.nlmsg_len - (uint8_t *)attribute);
	attribute->nla_type |= NLA_F_NESTED;
}

/* @message becomes the answer; an acknowledgement ends it if there is none. */
static void ask(int fd, struct message *message)
{
	const struct nlmsgerr *error = (const void *)(message->bytes + NLMSG_HDRLEN);

	if (send(fd, message, message->head.nlmsg_len, 0) < 0 ||
	    recv(fd, message, sizeof(*message), 0) < 0)
		die(errno, "netlink");
	if (message->head.nlmsg_type == NLMSG_ERROR && error->error != 0)
		die(-error->error, "netlink");
}

static uint16_t find_family(int fd)
{
	struct message message = message_of(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	uint32_t at = NLMSG_HDRLEN + GENL_HDRLEN;

	add_attribute(&message, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME,
		      sizeof(NBD_GENL_FAMILY_NAME));
	ask(fd, &message);
	while (at + NLA_HDRLEN <= message.head.nlmsg_len) {
		const struct nlattr *attribute = (const void *)(message.bytes + at);
		uint16_t family;

		if (attribute->nla_type == CTRL_ATTR_FAMILY_ID) {
			memcpy(&family, message.bytes + at + NLA_HDRLEN, sizeof(family));
			return family;
		}
		at += (uint32_t)NLA_ALIGN(attribute->nla_len);
	}
	die(0, "the kernel's nbd has no netlink family");
}

static void reconfigure(int fd, uint32_t device_index, uint32_t connection_fd)
{
	struct message message = message_of(find_family(fd), NBD_CMD_RECONFIGURE);
	uint64_t resend_s = RESEND_S, wait_s = WAIT_S;
	struct nlattr *sockets, *item;

	/* The acknowledgement of the question before. */
	recv(fd, (uint8_t[MESSAGE_BYTES_MAX]){ 0 }, MESSAGE_BYTES_MAX, MSG_DONTWAIT);
	add_attribute(&message, NBD_ATTR_INDEX, &device_index, sizeof(device_index));
	add_attribute(&message, NBD_ATTR_TIMEOUT, &resend_s, sizeof(resend_s));
	add_attribute(&message, NBD_ATTR_DEAD_CONN_TIMEOUT, &wait_s, sizeof(wait_s));
	sockets = add_attribute(&message, NBD_ATTR_SOCKETS, NULL, 0);
	item = add_attribute(&message, NBD_SOCK_ITEM, NULL, 0);
	add_attribute(&message, NBD_SOCK_FD, &connection_fd, sizeof(connection_fd));
	end_nested(&message, item);
	end_nested(&message, sockets);
	ask(fd, &message);
}

int verb_reconnect(char **arguments)
{
	struct client client = client_connect(arguments[0], "");
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	uint32_t device_index;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(errno, "netlink");
	if (sscanf(arguments[1], "/dev/nbd%u", &device_index) != 1)
		die(0, "not an NBD device: %s", arguments[1]);
	reconfigure(fd, device_index, (uint32_t)client.fd);
	close(fd);
	return 0;
}
