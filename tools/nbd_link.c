/* SPDX-License-Identifier: MIT */
/* The kernel's NBD client: see nbd_link.h. */
#include "nbd_link.h"

#include <errno.h>
#include <linux/nbd-netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <string.h>

int nbd_link_open(struct nbd_link *link, struct problem *problem)
{
	int r;

	link->sock = nl_socket_alloc();
	r = link->sock ? genl_connect(link->sock) : -NLE_NOMEM;
	if (r == 0) {
		r = genl_ctrl_resolve(link->sock, NBD_GENL_FAMILY_NAME);
		link->family = r;
	}
	if (r >= 0)
		return 0;
	nbd_link_close(link);
	if (r == -NLE_OBJ_NOTFOUND) {
		problem_set(problem, "kernel", "nbd",
			    "is not there: load the module first (modprobe nbd)");
		return -ENODEV;
	}
	problem_set(problem, "kernel", "nbd", "cannot be asked by netlink: %s", nl_geterror(r));
	return -EIO;
}

void nbd_link_close(struct nbd_link *link)
{
	if (link->sock)
		nl_socket_free(link->sock);
	link->sock = NULL;
}

/* ---- one conversation: a message, perhaps an answer, and how it went ---- */

struct talk {
	bool ended;
	int error; /* a negative errno */
	bool has_index;
	uint32_t index;
};

static int take_answer(struct nl_msg *message, void *arg)
{
	struct nlattr *attributes[NBD_ATTR_MAX + 1] = { 0 };
	struct talk *talk = arg;

	if (genlmsg_parse(nlmsg_hdr(message), 0, attributes, NBD_ATTR_MAX, NULL) == 0 &&
	    attributes[NBD_ATTR_INDEX] &&
	    nla_len(attributes[NBD_ATTR_INDEX]) >= (int)sizeof(talk->index)) {
		talk->has_index = true;
		talk->index = nla_get_u32(attributes[NBD_ATTR_INDEX]);
	}
	return NL_OK;
}

static int take_ack(struct nl_msg *message, void *arg)
{
	struct talk *talk = arg;

	(void)message;
	talk->ended = true;
	return NL_STOP;
}

/* As the kernel has it: libnl's own numbers are fewer. */
static int take_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct talk *talk = arg;

	(void)from;
	talk->ended = true;
	talk->error = error->error;
	return NL_STOP;
}

static int receive_until_end(const struct nbd_link *link, struct talk *talk)
{
	struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);
	int r = 0;

	if (!callbacks)
		return -ENOMEM;
	nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, take_answer, talk);
	nl_cb_set(callbacks, NL_CB_ACK, NL_CB_CUSTOM, take_ack, talk);
	nl_cb_err(callbacks, NL_CB_CUSTOM, take_error, talk);
	while (r >= 0 && !talk->ended)
		r = nl_recvmsgs(link->sock, callbacks);
	nl_cb_put(callbacks);
	return talk->ended ? talk->error : -EIO;
}

/* @message: freed. */
static int send_and_hear(const struct nbd_link *link, struct nl_msg *message, struct talk *talk)
{
	int r = nl_send_auto(link->sock, message);

	nlmsg_free(message);
	return r < 0 ? -EIO : receive_until_end(link, talk);
}

static struct nl_msg *new_message(const struct nbd_link *link, uint8_t command)
{
	struct nl_msg *message = nlmsg_alloc();

	if (message && !genlmsg_put(message, NL_AUTO_PORT, NL_AUTO_SEQ, link->family, 0, 0, command,
				    NBD_GENL_VERSION)) {
		nlmsg_free(message);
		message = NULL;
	}
	return message;
}

/* ---- what is said ---- */

static int put_sockets(struct nl_msg *message, const struct nbd_link_setup *setup)
{
	struct nlattr *list = nla_nest_start(message, NBD_ATTR_SOCKETS);

	for (unsigned int i = 0; list && i < setup->nr_sockets; i++) {
		struct nlattr *item = nla_nest_start(message, NBD_SOCK_ITEM);

		if (!item || nla_put_u32(message, NBD_SOCK_FD, (uint32_t)setup->sockets[i]) < 0)
			return -EMSGSIZE;
		nla_nest_end(message, item);
	}
	if (!list)
		return -EMSGSIZE;
	nla_nest_end(message, list);
	return 0;
}

/*
 * No NBD_ATTR_CLIENT_FLAGS: DISCONNECT_ON_CLOSE would end the device after the first mkfs,
 * and DESTROY_ON_DISCONNECT would take /dev/nbdN from those who expect the module's
 * devices to be there.
 */
static int put_setup(struct nl_msg *message, const struct nbd_link_setup *setup)
{
	const struct nbdc_export *export = &setup->export;

	if (nla_put_u64(message, NBD_ATTR_SIZE_BYTES, export->bytes) < 0 ||
	    nla_put_u64(message, NBD_ATTR_BLOCK_SIZE_BYTES, export->minimum_bytes) < 0 ||
	    nla_put_u64(message, NBD_ATTR_SERVER_FLAGS, export->transmission_flags) < 0 ||
	    nla_put_u64(message, NBD_ATTR_TIMEOUT, setup->timeout_s) < 0 ||
	    nla_put_u64(message, NBD_ATTR_DEAD_CONN_TIMEOUT, setup->dead_conn_s) < 0 ||
	    nla_put_string(message, NBD_ATTR_BACKEND_IDENTIFIER, setup->identity) < 0)
		return -EMSGSIZE;
	return put_sockets(message, setup);
}

int nbd_link_connect(const struct nbd_link *link, const struct nbd_link_setup *setup,
		     unsigned int *ret_index)
{
	struct nl_msg *message = new_message(link, NBD_CMD_CONNECT);
	struct talk talk = { 0 };
	int r = message ? put_setup(message, setup) : -ENOMEM;

	if (r < 0) {
		nlmsg_free(message);
		return r;
	}
	r = send_and_hear(link, message, &talk);
	if (r == 0 && !talk.has_index)
		r = -EPROTO;
	if (r == 0)
		*ret_index = talk.index;
	return r;
}

int nbd_link_reconnect(const struct nbd_link *link, unsigned int index,
		       const struct nbd_link_setup *setup)
{
	struct nl_msg *message = new_message(link, NBD_CMD_RECONFIGURE);
	struct talk talk = { 0 };
	int r = message ? put_setup(message, setup) : -ENOMEM;

	if (r == 0 && nla_put_u32(message, NBD_ATTR_INDEX, index) < 0)
		r = -EMSGSIZE;
	if (r < 0) {
		nlmsg_free(message);
		return r;
	}
	return send_and_hear(link, message, &talk);
}

int nbd_link_disconnect(const struct nbd_link *link, unsigned int index)
{
	struct nl_msg *message = new_message(link, NBD_CMD_DISCONNECT);
	struct talk talk = { 0 };

	if (!message)
		return -ENOMEM;
	if (nla_put_u32(message, NBD_ATTR_INDEX, index) < 0) {
		nlmsg_free(message);
		return -EMSGSIZE;
	}
	return send_and_hear(link, message, &talk);
}
