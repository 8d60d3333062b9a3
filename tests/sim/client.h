/* SPDX-License-Identifier: MIT */
/*
 * The client of a script: issues its operations to an open world and tells the
 * oracle what was issued and what was answered.
 */
#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H

#include "sim/oracle.h"
#include "sim/script.h"
#include "sim/world.h"

enum { CLIENT_OPS_MAX = 8 };
_Static_assert((int)SCRIPT_STEPS_MAX <= (int)CLIENT_OPS_MAX, "all steps of a script at once");

struct client_op {
	struct client *client;
	const struct script_step *step;
	bool pending;
	int error; /* once not pending */
	struct oracle_change change;
	uint32_t issued_at;
	struct request request;
	uint8_t data[ORACLE_SECTORS_MAX * SECTOR_BYTES];
};

struct client {
	struct world *world;
	struct oracle *oracle;
	uint32_t next_content;	     /* of the next data to be written */
	struct client_op *switching; /* NULL: encryption is not being switched */
	struct client_op *rewriting; /* NULL: no rewrite is being waited for */
	struct client_op *revoking;  /* NULL: the keys are not being revoked */
	uint64_t nr_answers;
	bool unfinished;   /* a rewrite was said to be done, and is not */
	bool strange_read; /* one answered with what it may not: see below */
	struct content_set read_allowed;
	uint32_t read_found;
	uint32_t read_sector;

	/* The plane that must not be written to since a switch: its window then. */
	bool has_frozen;
	unsigned int frozen_plane;
	uint8_t frozen[WINDOW_SECTORS_MAX * SECTOR_BYTES];

	struct client_op ops[CLIENT_OPS_MAX];
};

void client_init(struct client *client, struct world *world, struct oracle *oracle);

/* Issue @step, which is borrowed until it is answered, as number @i of those not answered yet. */
struct client_op *client_issue(struct client *client, const struct script_step *step,
			       unsigned int i);

/* Run until @op is answered (NULL: all, and nothing in flight). 0 or as world_wait(). */
int client_wait(struct client *client, const struct client_op *op);

/* Has nothing but zeros come to the plane left at the last switch? */
bool client_left_plane_alone(const struct client *client);

#endif
