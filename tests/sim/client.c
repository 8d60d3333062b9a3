/* SPDX-License-Identifier: MIT */
/* The client of a script: see client.h. */
#include "sim/client.h"

#include <string.h>

#include "sim/state.h"

void client_init(struct client *client, struct world *world, struct oracle *oracle)
{
	memset(client, 0, sizeof(*client));
	client->world = world;
	client->oracle = oracle;
	client->next_content = CONTENT_FIRST;
}

/* ---- answers -------------------------------------------------------------- */

static void judge_read(struct client *client, const struct client_op *op)
{
	const uint64_t first = client->world->geometry->first_sector;

	for (uint32_t n = op->step->first; n < (uint32_t)op->step->first + op->step->nr; n++) {
		const uint32_t found =
			content_of(first + n, op->data + sectors_to_bytes(n - op->step->first));
		const struct content_set allowed =
			oracle_readable(client->oracle, n, op->issued_at);

		if (content_set_has(&allowed, found))
			continue;
		client->strange_read = true;
		client->read_allowed = allowed;
		client->read_found = found;
		client->read_sector = n;
	}
}

static void answered(struct client_op *op, int error)
{
	struct client *client = op->client;

	op->pending = false;
	op->error = error;
	client->nr_answers++;
	if (op_changes_sectors(op->step->op))
		oracle_answer(client->oracle, &op->change, error,
			      op->step->op == 'F' || op->step->op == 'Y');
	else if (op->step->op == 'L' && error == 0)
		oracle_flushed(client->oracle, op->issued_at);
	else if (op->step->op == 'R' && error == 0)
		judge_read(client, op);
}

static void request_done(struct request *request)
{
	answered(CONTAINER_OF(request, struct client_op, request), request->error);
}

/* ---- issuing -------------------------------------------------------------- */

static uint64_t first_sector(const struct client_op *op)
{
	return op->client->world->geometry->first_sector + op->step->first;
}

static void issue_change(struct client_op *op)
{
	const char letter = op->step->op;
	const bool has_data = letter == 'W' || letter == 'F';
	const uint32_t content = has_data ? op->client->next_content++ : CONTENT_ZERO;

	for (uint32_t n = 0; n < op->step->nr; n++)
		content_fill(first_sector(op) + n, content, op->data + n * SECTOR_BYTES);
	op->change = oracle_issue(op->client->oracle, op->step->first, op->step->nr, content);
	op->request = (struct request){
		.lane = &op->client->world->image->lane,
		.op = has_data	      ? REQ_WRITE
		      : letter == 'T' ? REQ_TRIM
				      : REQ_ZERO,
		.first_sector = first_sector(op),
		.nr_sectors = op->step->nr,
		.fua = letter == 'F' || letter == 'Y',
		.no_hole = letter == 'Z',
		.data = op->data,
		.done = request_done,
	};
	req_start(&op->request);
}

static void issue_flush(struct client_op *op)
{
	op->issued_at = oracle_now(op->client->oracle);
	op->request = (struct request){
		.lane = &op->client->world->image->lane,
		.op = REQ_FLUSH,
		.done = request_done,
	};
	req_start(&op->request);
}

static void issue_read(struct client_op *op)
{
	op->issued_at = oracle_now(op->client->oracle);
	world_start_read(op->client->world, &op->request, first_sector(op), op->step->nr, op->data,
			 request_done);
}

static void issue_switch(struct client_op *op)
{
	op->client->switching = op;
	op->client->oracle->enabled_wanted = op->step->op != '-';
	world_switch_begin(op->client->world);
}

static void begin_rewrite(struct client_op *op)
{
	struct client *client = op->client;
	const int r = world_rewrite_begin(client->world, op->step->op == 'E' ? SEAL_REWRITE_ENCRYPT
									     : SEAL_REWRITE_REKEY);

	/* One that is waited for already answers for all. */
	if (r < 0 || client->rewriting)
		answered(op, r);
	else
		client->rewriting = op;
}

static void issue_rewrite(struct client_op *op)
{
	if (op->step->op == 'X' && !(op->client->world->image->super.rewrites & SEAL_REWRITE_REKEY))
		issue_switch(op);
	else
		begin_rewrite(op);
}

static void issue_revoke(struct client_op *op)
{
	op->client->revoking = op;
	op->issued_at = oracle_now(op->client->oracle);
	world_revoke_begin(op->client->world);
}

/* Of the daemon's own doing; the client is told nothing. */
static void tick(struct client_op *op)
{
	world_tick(op->client->world);
	answered(op, 0);
}

struct client_op *client_issue(struct client *client, const struct script_step *step,
			       unsigned int i)
{
	struct client_op *op = &client->ops[i];

	op->client = client;
	op->step = step;
	op->pending = true;
	if (op_changes_sectors(step->op))
		issue_change(op);
	else if (step->op == 'L')
		issue_flush(op);
	else if (step->op == 'R')
		issue_read(op);
	else if (step->op == 'c')
		tick(op);
	else if (op_is_rewrite(step->op))
		issue_rewrite(op);
	else if (step->op == 'V')
		issue_revoke(op);
	else
		issue_switch(op);
	return op;
}

/* ---- waiting -------------------------------------------------------------- */

static void peek_plane(const struct client *client, unsigned int plane,
		       uint8_t ret_bytes[WINDOW_SECTORS_MAX * SECTOR_BYTES])
{
	const struct world *world = client->world;

	sim_peek(world->sim, world->fd, SIM_CACHE, world_place(world, plane, window_first(world)),
		 ret_bytes, sectors_to_bytes(window_sectors(world)));
}

static enum image_target target_of(char letter)
{
	if (letter == '-')
		return IMAGE_TARGET_PLAIN;
	return letter == '+' ? IMAGE_TARGET_SEALED : IMAGE_TARGET_NEW_PLANE;
}

static int end_switch(struct client *client)
{
	struct client_op *op = client->switching;
	const unsigned int left = client->world->image->super.current_plane;
	int r = world_switch_end(client->world, target_of(op->step->op));

	if (r == 0 && op->step->op == 'X')
		r = image_renew_key(client->world->image, world_secret(), &client->world->problem);
	client->world->switch_ready = false;
	client->switching = NULL;
	if (r == 0) {
		client->oracle->enabled = client->oracle->enabled_wanted;
		client->has_frozen = true;
		client->frozen_plane = left;
		peek_plane(client, client->frozen_plane, client->frozen);
	}
	if (r == 0 && op->step->op == 'X')
		begin_rewrite(op);
	else
		answered(op, r);
	/* An export that has failed lives on: that is the fault loops' to judge. */
	return 0;
}

/* Nothing in the window is plain or the base's; or it lies under one key. */
static bool rewrite_is_done(const struct world *world, char op)
{
	const struct image *image = world->image;
	const struct map *map = &image->disk.map;
	struct map_run run;

	if (image->super.rewrites & (op == 'E' ? SEAL_REWRITE_ENCRYPT : SEAL_REWRITE_REKEY))
		return false;
	if (op == 'E' && image->super.has_base)
		return false;
	for (uint64_t i = 0; i < window_sectors(world); i++) {
		if (map_find(map, window_first(world) + i, 1, &run) < 0)
			return false;
		if (op == 'E' && run.entry != SEAL_ENTRY_ZERO &&
		    map->config.planes[run.entry].kind != SEAL_PLANE_SEALED)
			return false;
		if (op == 'X' && map->config.planes[run.entry].kind == SEAL_PLANE_SEALED &&
		    run.entry != image->super.current_plane)
			return false;
	}
	return true;
}

static bool turn_rewrite(struct client *client)
{
	struct client_op *op = client->rewriting;
	const struct map_config *config = &client->world->image->disk.map.config;
	bool over;
	int error;
	const bool any = world_rewrite_turn(client->world, &over, &error);

	/* Its place may be another plane's now. */
	if (config->planes[client->frozen_plane].kind == SEAL_PLANE_NONE)
		client->has_frozen = false;
	if (!over)
		return any;
	client->rewriting = NULL;
	/* Unless encryption was switched off meanwhile, all of it is done. */
	if (error == 0 && client->world->image->super.encryption_enabled)
		client->unfinished |= !rewrite_is_done(client->world, op->step->op);
	answered(op, error);
	return true;
}

/* Revoked, all is durable, as if flushed; unless writing has failed. Then the keys come back. */
static void end_revoke(struct client *client, int rest)
{
	struct client_op *op = client->revoking;
	int r = world_revoke_end(client->world, rest);

	client->revoking = NULL;
	if (r == 0 && !atomic_load(&client->world->image->disk.map.failed))
		oracle_flushed(client->oracle, op->issued_at);
	if (r == 0)
		r = world_restore(client->world);
	answered(op, r);
}

static bool try_revoke(struct client *client)
{
	const int rest = client->revoking ? world_revoke_try(client->world) : -EAGAIN;

	if (rest != -EAGAIN)
		end_revoke(client, rest);
	return rest != -EAGAIN;
}

bool client_left_plane_alone(const struct client *client)
{
	static const uint8_t zeros[SECTOR_BYTES];
	uint8_t now[WINDOW_SECTORS_MAX * SECTOR_BYTES];

	if (!client->has_frozen)
		return true;
	peek_plane(client, client->frozen_plane, now);
	for (uint64_t at = 0; at < sectors_to_bytes(window_sectors(client->world));
	     at += SECTOR_BYTES)
		if (memcmp(now + at, client->frozen + at, SECTOR_BYTES) != 0 &&
		    memcmp(now + at, zeros, SECTOR_BYTES) != 0)
			return false;
	return true;
}

static bool anything_pending(const struct client *client)
{
	for (unsigned int i = 0; i < CLIENT_OPS_MAX; i++)
		if (client->ops[i].pending)
			return true;
	return false;
}

static bool is_over(const struct client *client, const struct client_op *op)
{
	if (op)
		return !op->pending;
	return !anything_pending(client) && client->world->tap.ring.nr_in_flight == 0;
}

int client_wait(struct client *client, const struct client_op *op)
{
	for (;;) {
		bool any = world_turn(client->world);
		int r = 0;

		if (client->world->switch_ready) {
			any = true;
			r = end_switch(client);
		}
		if (client->rewriting)
			any |= turn_rewrite(client);
		if (r == 0 && (any || try_revoke(client)))
			continue;
		if (r == 0 && is_over(client, op))
			return 0;
		if (r == 0)
			r = world_wait(client->world);
		if (r < 0)
			return r;
	}
}
