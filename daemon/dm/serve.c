/* SPDX-License-Identifier: MIT */
/* From dm-sealblk to the gate, and back: see serve.h. */
#include "dm/serve.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "dm/device.h"
#include "request/gate.h"
#include "worker.h"

static void fetched(struct ring_op *op, int result);

static void send_command(struct dm_tag *tag, uint32_t number, struct shim_command command)
{
	tag->command = command;
	tag->op = (struct ring_op){
		.kind = RING_COMMAND,
		.fd = tag->device->fd,
		.command = number,
		.data = (uint8_t *)&tag->command,
		.done = fetched,
	};
	ring_submit(tag->worker->ring, &tag->op);
}

static void fetch(struct dm_tag *tag)
{
	send_command(tag, SHIM_CMD_FETCH, (struct shim_command){ .tag = tag->number });
}

static void commit(struct dm_tag *tag, int result)
{
	send_command(tag, tag->worker->dm_over ? SHIM_CMD_COMMIT : SHIM_CMD_COMMIT_AND_FETCH,
		     (struct shim_command){
			     .tag = tag->number,
			     .result = result,
			     .sequence = tag->device->requests[tag->number].sequence,
		     });
}

static void finished(struct request *request)
{
	struct dm_tag *tag = CONTAINER_OF(request, struct dm_tag, request);

	tag->worker->nr_dm_requests--;
	commit(tag, request->error);
}

/* In the words of the gate, which are NBD's. */
static struct nbds_request words_of(const struct shim_request *wanted)
{
	static const uint16_t commands[] = {
		[SHIM_OP_READ] = NBD_CMD_READ,	       [SHIM_OP_WRITE] = NBD_CMD_WRITE,
		[SHIM_OP_FLUSH] = NBD_CMD_FLUSH,       [SHIM_OP_DISCARD] = NBD_CMD_TRIM,
		[SHIM_OP_ZERO] = NBD_CMD_WRITE_ZEROES,
	};

	return (struct nbds_request){
		.command = wanted->op < ARRAY_LEN(commands) ? commands[wanted->op] : UINT16_MAX,
		.flags = (uint16_t)((wanted->flags & SHIM_FUA ? NBD_CMD_FLAG_FUA : 0) |
				    (wanted->flags & SHIM_NO_HOLE ? NBD_CMD_FLAG_NO_HOLE : 0)),
		.offset_bytes = sectors_to_bytes(wanted->first_sector),
		.length_bytes = sectors_to_bytes(wanted->nr_sectors),
	};
}

static int judge(const struct dm_tag *tag, const struct nbds_request *words, enum req_op *ret_op)
{
	const struct server *server = tag->worker->server;
	const struct nbds_export *export = &server->exports[tag->device->export];
	const struct gate_limits limits = {
		.disk_bytes = export->bytes,
		.read_only = export->transmission_flags & NBD_FLAG_READ_ONLY,
		.revoked = atomic_load(&server->images[tag->device->export]->disk.revoked),
	};
	int r = gate_check(&limits, words);

	if (r == 0)
		r = req_op_of_command(words->command, ret_op);
	if (r == 0 &&
	    req_buffer_bytes(*ret_op, words->flags & NBD_CMD_FLAG_NO_HOLE,
			     bytes_to_sectors(words->length_bytes)) > tag->device->max_io_bytes)
		r = -EINVAL;
	return r;
}

static void begin(struct dm_tag *tag)
{
	const struct shim_request wanted = tag->device->requests[tag->number];
	const struct nbds_request words = words_of(&wanted);
	struct request *request = &tag->request;
	int refused = judge(tag, &words, &request->op);

	if (refused) {
		commit(tag, refused);
		return;
	}
	request->lane = &tag->worker->lanes[tag->device->export];
	request->first_sector = wanted.first_sector;
	request->nr_sectors = wanted.nr_sectors;
	request->fua = wanted.flags & SHIM_FUA;
	request->no_hole = wanted.flags & SHIM_NO_HOLE;
	request->data = tag->device->data + tag->number * (size_t)tag->device->max_io_bytes;
	request->done = finished;
	tag->worker->nr_dm_requests++;
	req_start(request);
}

/* Its table is gone, or this is not what the module speaks. */
static void tell_of_end(struct dm_device *device, int error)
{
	if (atomic_exchange(&device->ended, true))
		return;
	log_line(LOG_LEVEL_WARNING, "device %s: %s", device->name,
		 error == -ENODEV ? "was removed, and is no longer served" : strerror(-error));
}

static void fetched(struct ring_op *op, int result)
{
	struct dm_tag *tag = CONTAINER_OF(op, struct dm_tag, op);

	/* The kernel has what was not begun, and takes it back when the node is closed. */
	if (tag->worker->dm_over)
		return;
	if (result == SHIM_REQUEST)
		begin(tag);
	else if (result == SHIM_RENEW)
		fetch(tag);
	else
		tell_of_end(tag->device, result);
}

static void start_tag(struct worker *worker, struct dm_device *device, unsigned int number)
{
	struct dm_tag *tag = &device->tags[number];

	tag->device = device;
	tag->worker = worker;
	tag->number = (uint16_t)number;
	fetch(tag);
}

void dm_start(struct worker *worker)
{
	const struct server *server = worker->server;

	if (worker->background)
		return;
	for (unsigned int i = 0; i < server->nr_dms; i++)
		for (unsigned int n = worker->number; n < server->dms[i].queue_depth;
		     n += server->nr_workers)
			start_tag(worker, &server->dms[i], n);
}

bool dm_stop(struct worker *worker)
{
	worker->dm_over = true;
	return worker->nr_dm_requests == 0;
}
