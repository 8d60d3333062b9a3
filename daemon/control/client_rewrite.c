/* SPDX-License-Identifier: MIT */
/* The verb "rewrite": orders about background rewrites, and how far they are. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "control/client.h"
#include "control/report.h"
#include "control/server.h"
#include "keys/key_mem.h"

static void secret_freep(struct key_secret **secret)
{
	*secret = key_mem_free(*secret);
}

static int put_status(struct control_client *client, const struct report *report)
{
	json_t *status = report_rewrite_json(report->image);
	int r = status ? control_client_put(client, status) : -ENOMEM;

	json_decref(status);
	return r;
}

/* "status" is no order: *ret_order->action is then of no meaning. */
static int parse(const json_t *request, struct rewrite_order *ret_order, bool *ret_status)
{
	const char *job = json_string_value(json_object_get(request, "job"));
	const char *action = json_string_value(json_object_get(request, "action"));
	const json_t *max_rate = json_object_get(request, "max_rate");
	const json_t *drop = json_object_get(request, "drop_other_slots");
	static const char *const actions[] = {
		[REWRITE_START] = "start", [REWRITE_PAUSE] = "pause", [REWRITE_RESUME] = "resume"
	};
	unsigned int i = 0;

	if (!job || !action || (max_rate && !json_is_integer(max_rate)) ||
	    json_integer_value(max_rate) < 0 || (drop && !json_is_boolean(drop)))
		return -EBADRQC;
	while (i < ARRAY_LEN(actions) && strcmp(action, actions[i]) != 0)
		i++;
	*ret_status = strcmp(action, "status") == 0;
	if ((i == ARRAY_LEN(actions) && !*ret_status) ||
	    (strcmp(job, "encrypt") != 0 && strcmp(job, "rekey") != 0))
		return -EBADRQC;
	*ret_order = (struct rewrite_order){
		.which = strcmp(job, "rekey") == 0 ? SEAL_REWRITE_REKEY : SEAL_REWRITE_ENCRYPT,
		.action = (enum rewrite_action)i,
		.has_max_rate = max_rate != NULL,
		.max_rate = (uint64_t)json_integer_value(max_rate),
		.drop_other_slots = json_is_true(drop),
	};
	return 0;
}

static int obey(struct control_client *client, const struct report *report,
		const struct rewrite_order *order)
{
	const struct control_actions *actions = client->actions;
	int r;

	control_client_lock(client);
	r = actions->rewrite(actions->arg, report->image, order, &client->problem);
	control_client_unlock(client);
	return r == 0 ? put_status(client, report) : r;
}

int control_answer_rewrite(struct control_client *client, const struct report *report)
{
	CLEANUP(secret_freep) struct key_secret *secret = NULL;
	struct rewrite_order order;
	bool status;
	int r = parse(client->request, &order, &status);

	if (r < 0)
		return r;
	if (status)
		return put_status(client, report);
	if (!client->actions->rewrite)
		return -EOPNOTSUPP;
	if (order.which == SEAL_REWRITE_REKEY && order.action == REWRITE_START) {
		secret = key_mem_new(sizeof(*secret));
		r = secret ? control_receive_secrets(client, &secret, 1) : -ENOMEM;
		order.secret = secret;
	}
	return r == 0 ? obey(client, report, &order) : r;
}
