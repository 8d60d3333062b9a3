/* SPDX-License-Identifier: MIT */
/*
 * The verb "export": the disk as it is now, read piece by piece while clients go on.
 *
 * receive_scratch -> begin -> put_facts -> { answer_next } -> end
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/client.h"
#include "control/moment.h"
#include "control/report.h"
#include "control/server.h"
#include "sealblk/limits.h"

enum { CHUNK_SECTORS = MOMENT_CHUNK_BYTES / SECTOR_BYTES };

/* ---- the scratch file ---- */

/* Of @message; more than one, of which one has come, or none: -EBADRQC. */
static int take_fd(struct msghdr *message, int *ret_fd)
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -EBADRQC;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	if (message->msg_flags & MSG_CTRUNC) {
		close(fd);
		return -EBADRQC;
	}
	*ret_fd = fd;
	return 0;
}

/* One byte that means nothing, and a descriptor with it. */
static int receive_scratch(struct control_client *client, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { .bytes = { 0 } };
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = room.bytes,
		/* Not CMSG_SPACE(): in its padding the kernel finds room for another one. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;
	int r = control_client_wait(client, POLLIN);

	if (r < 0)
		return r;
	n = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	return take_fd(&message, ret_fd);
}

static int ask_for_scratch(struct control_client *client, int *ret_fd)
{
	json_t *go_on = json_pack("{s:i}", "send", 1);
	int r = go_on ? control_client_put(client, go_on) : -ENOMEM;

	json_decref(go_on);
	if (r == 0)
		r = control_client_flush(client);
	return r == 0 ? receive_scratch(client, ret_fd) : r;
}

/* ---- what is told at the beginning ---- */

static json_t *footer_json(const struct image_origin *origin)
{
	char text[2 * VHD_FOOTER_BYTES + 1];

	if (!origin->has_footer)
		return json_null();
	for (unsigned int i = 0; i < VHD_FOOTER_BYTES; i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", origin->footer[i]);
	return json_string(text);
}

static int add_file(json_t *files, const struct store *store)
{
	return json_array_append_new(files,
				     json_pack("{s:I, s:I}", "device", (json_int_t)store->device,
					       "inode", (json_int_t)store->inode));
}

/* What the export may not replace: they are found by it. */
static json_t *files_json(const struct image *image)
{
	json_t *files = json_array();
	int r = files ? add_file(files, &image->store) : -1;

	for (unsigned int i = 0; i < image->base.nr_layers && r == 0; i++)
		r = add_file(files, &image->base.layers[i]->store);
	if (r == 0)
		return files;
	json_decref(files);
	return NULL;
}

static int put_facts(struct control_client *client, const struct control_moment *moment)
{
	const struct image *image = moment->image;
	json_t *facts = json_pack("{s:I, s:i, s:i, s:b, s:o, s:o}", "disk_bytes",
				  (json_int_t)sectors_to_bytes(image->disk.nr_sectors),
				  "chunk_bytes", MOMENT_CHUNK_BYTES, "read_bytes_max",
				  MOMENT_READ_BYTES_MAX, "is_base", moment->origin.is_base,
				  "footer", footer_json(&moment->origin), "files",
				  files_json(image));
	int r = facts ? control_client_put(client, facts) : -ENOMEM;

	json_decref(facts);
	return r;
}

/* ---- reading ---- */

/* Byte @value of the disk, where a chunk begins. */
static int sector_of(const struct control_moment *moment, const json_t *value, uint64_t *ret_sector)
{
	const json_int_t bytes = json_integer_value(value);

	if (!json_is_integer(value) || bytes < 0 || bytes % MOMENT_CHUNK_BYTES != 0 ||
	    bytes_to_sectors((uint64_t)bytes) >= moment->image->disk.nr_sectors)
		return -EBADRQC;
	*ret_sector = bytes_to_sectors((uint64_t)bytes);
	return 0;
}

static int answer_extent(struct control_client *client, struct control_moment *moment,
			 uint64_t first_sector)
{
	uint64_t nr_sectors;
	json_t *extent;
	bool hole;
	int r = client->actions->moments->extent(moment, first_sector, &hole, &nr_sectors);

	if (r < 0)
		return r;
	extent = json_pack("{s:b, s:I}", "hole", hole, "length_bytes",
			   (json_int_t)sectors_to_bytes(nr_sectors));
	r = extent ? control_client_put(client, extent) : -ENOMEM;
	json_decref(extent);
	return r == 0 ? control_client_flush(client) : r;
}

/* Up to the end of the disk, or whole chunks. */
static int length_of(const struct control_moment *moment, const json_t *value,
		     uint64_t first_sector, uint32_t *ret_sectors)
{
	const uint64_t left = moment->image->disk.nr_sectors - first_sector;
	const json_int_t bytes = json_integer_value(value);

	if (!json_is_integer(value) || bytes <= 0 || bytes > MOMENT_READ_BYTES_MAX ||
	    bytes % SECTOR_BYTES != 0)
		return -EBADRQC;
	*ret_sectors = (uint32_t)bytes_to_sectors((uint64_t)bytes);
	return *ret_sectors == left || (*ret_sectors < left && *ret_sectors % CHUNK_SECTORS == 0)
		       ? 0
		       : -EBADRQC;
}

static int answer_read(struct control_client *client, struct control_moment *moment,
		       uint64_t first_sector, uint32_t nr_sectors)
{
	const uint64_t nr_bytes = sectors_to_bytes(nr_sectors);
	const uint8_t *data;
	json_t *head;
	int r = client->actions->moments->read(moment, first_sector, nr_sectors, &data);

	if (r < 0)
		return r;
	head = json_pack("{s:I}", "length_bytes", (json_int_t)nr_bytes);
	r = head ? control_client_put(client, head) : -ENOMEM;
	json_decref(head);
	if (r == 0)
		r = control_client_flush(client);
	return r == 0 ? control_client_send(client, data, nr_bytes) : r;
}

static int answer_one(struct control_client *client, struct control_moment *moment,
		      const json_t *request)
{
	const json_t *extent = json_object_get(request, "extent");
	uint32_t nr_sectors;
	uint64_t first_sector;
	int r;

	if (extent) {
		r = sector_of(moment, extent, &first_sector);
		return r == 0 ? answer_extent(client, moment, first_sector) : r;
	}
	r = sector_of(moment, json_object_get(request, "read"), &first_sector);
	if (r == 0)
		r = length_of(moment, json_object_get(request, "length_bytes"), first_sector,
			      &nr_sectors);
	return r == 0 ? answer_read(client, moment, first_sector, nr_sectors) : r;
}

/* A client may take its time; a moment that cannot be held is not held for him. */
static int wait_for_next(struct control_client *client, struct control_moment *moment)
{
	for (;;) {
		const int r = control_client_wait(client, POLLIN);
		const int given_up = client->actions->moments->check(moment);

		if (given_up || r != -ETIMEDOUT)
			return given_up ? given_up : r;
	}
}

static int answer_next(struct control_client *client, struct control_moment *moment)
{
	json_t *request = NULL;
	int r = wait_for_next(client, moment);

	if (r == 0)
		r = control_client_receive(client, &request);
	if (r == 0)
		r = answer_one(client, moment, request);
	json_decref(request);
	return r;
}

/* ---- the whole ---- */

static const char *why(int error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return "its scratch file has no space for what clients have overwritten since";
	case -ETIME:
		return "its scratch file is so slow that they would have had to wait";
	case -ENODATA:
		return "this piece has been read before";
	default:
		return strerror(-error);
	}
}

/* Returns what the client is to be told, with a text for it unless the conversation is to blame. */
static int explain(struct control_client *client, const struct image *image, int error)
{
	static const int ours[] = { EBADRQC,   EBADMSG,	   EMSGSIZE, EPIPE,
				    ECANCELED, ECONNRESET, ETIMEDOUT };

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (error == -ours[i])
			return error;
	if (error == -EPERM) {
		problem_set(&client->problem, "image", image->path,
			    "its keys were revoked while it was being exported");
		return -EKEYREJECTED;
	}
	problem_set(&client->problem, "image", image->path,
		    "its export was given up, its clients were not disturbed: %s", why(error));
	return error;
}

static int serve(struct control_client *client, struct control_moment *moment)
{
	int r = put_facts(client, moment);

	if (r == 0)
		r = control_client_flush(client);
	while (r == 0)
		r = answer_next(client, moment);
	return explain(client, moment->image, r);
}

int control_answer_export(struct control_client *client, const struct report *report)
{
	const struct control_actions *actions = client->actions;
	struct control_moment *moment;
	int scratch_fd = -1;
	int r;

	if (!actions->moments)
		return -EOPNOTSUPP;
	r = ask_for_scratch(client, &scratch_fd);
	if (r < 0)
		return r;
	control_client_lock(client);
	r = actions->moments->begin(actions->arg, report->image, scratch_fd, &moment,
				    &client->problem);
	control_client_unlock(client);
	if (r < 0)
		return r;
	r = serve(client, moment);
	actions->moments->end(moment);
	return r;
}
