/* SPDX-License-Identifier: MIT */
/* The verbs about keys. Secrets lie in key memory from the socket on. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "control/client.h"
#include "control/report.h"
#include "control/server.h"
#include "keys/key_mem.h"

int control_answer_keys(struct control_client *client, const struct report *report)
{
	json_t *keys;
	int r;

	control_client_lock(client);
	keys = report_keys_json(report);
	control_client_unlock(client);
	r = keys ? control_client_put(client, keys) : -ENOMEM;
	json_decref(keys);
	return r;
}

static void secret_freep(struct key_secret **secret)
{
	*secret = key_mem_free(*secret);
}

/* Straight into key memory: see docs/control.md. Not judged yet. */
static int receive_secret(struct control_client *client, struct key_secret *ret_secret)
{
	size_t nr = 0;

	while (nr < sizeof(*ret_secret)) {
		int r = control_client_wait(client, POLLIN);
		ssize_t n;

		if (r < 0)
			return r;
		n = recv(client->fd, (uint8_t *)ret_secret + nr, sizeof(*ret_secret) - nr,
			 MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		nr += (size_t)n;
	}
	return 0;
}

static int ask_for_secrets(struct control_client *client, int nr)
{
	json_t *go_on = json_pack("{s:i}", "send", nr);
	int r = go_on ? control_client_put(client, go_on) : -ENOMEM;

	json_decref(go_on);
	return r == 0 ? control_client_flush(client) : r;
}

int control_receive_secrets(struct control_client *client, struct key_secret *const *secrets,
			    unsigned int nr)
{
	bool sound = true;
	int r = ask_for_secrets(client, (int)nr);

	for (unsigned int i = 0; i < nr && r == 0; i++)
		r = receive_secret(client, secrets[i]);
	/* Not before all has come: what a client still sends would cut the answer off. */
	for (unsigned int i = 0; i < nr && r == 0; i++)
		sound &= key_secret_is_sound(secrets[i]);
	return r == 0 && !sound ? -EBADRQC : r;
}

static int change_keys(struct control_client *client, struct image *image,
		       const struct key_change *change)
{
	struct key_change_result result;
	json_t *object;
	int r;

	control_client_lock(client);
	r = client->actions->change_keys(client->actions->arg, image, change, &result,
					 &client->problem);
	control_client_unlock(client);
	if (r < 0)
		return r;
	object = json_pack("{s:b, s:i, s:b, s:i, s:i}", "added", result.added, "new_slot",
			   (int)result.new_slot, "removed", result.removed, "old_slot",
			   (int)result.old_slot, "nr_slots_left", (int)result.nr_slots_left);
	r = object ? control_client_put(client, object) : -ENOMEM;
	json_decref(object);
	return r;
}

/* Adding and rotating. */
static int change_with_secrets(struct control_client *client, struct image *image,
			       enum key_change_kind kind)
{
	CLEANUP(secret_freep) struct key_secret *secret = key_mem_new(sizeof(*secret));
	CLEANUP(secret_freep) struct key_secret *new_secret = key_mem_new(sizeof(*new_secret));
	const struct key_change change = {
		.kind = kind,
		.secret = secret,
		.new_secret = new_secret,
		.now_s = (uint64_t)time(NULL),
	};
	int r;

	if (!client->actions->change_keys)
		return -EOPNOTSUPP;
	if (!secret || !new_secret)
		return -ENOMEM;
	r = control_receive_secrets(client, (struct key_secret *const[]){ secret, new_secret }, 2);
	return r == 0 ? change_keys(client, image, &change) : r;
}

int control_answer_key_add(struct control_client *client, const struct report *report)
{
	return change_with_secrets(client, report->image, KEY_CHANGE_ADD);
}

int control_answer_key_rotate(struct control_client *client, const struct report *report)
{
	return change_with_secrets(client, report->image, KEY_CHANGE_ROTATE);
}

int control_answer_key_remove(struct control_client *client, const struct report *report)
{
	const json_t *slot = json_object_get(client->request, "slot");
	const json_t *destroy_data = json_object_get(client->request, "destroy_data");
	const json_int_t number = json_integer_value(slot);
	const struct key_change change = {
		.kind = KEY_CHANGE_REMOVE,
		.slot = (unsigned int)number,
		.destroy_data = json_is_true(destroy_data),
	};

	if (!json_is_integer(slot) || number < 0 || number >= KEY_SLOTS_MAX ||
	    (destroy_data && !json_is_boolean(destroy_data)))
		return -EBADRQC;
	if (!client->actions->change_keys)
		return -EOPNOTSUPP;
	return change_keys(client, report->image, &change);
}

static int put_changed(struct control_client *client, bool changed)
{
	json_t *object = json_pack("{s:b}", "changed", changed);
	int r = object ? control_client_put(client, object) : -ENOMEM;

	json_decref(object);
	return r;
}

int control_answer_key_revoke(struct control_client *client, const struct report *report)
{
	const struct control_actions *actions = client->actions;
	bool changed;
	int r;

	if (!actions->revoke)
		return -EOPNOTSUPP;
	control_client_lock(client);
	r = actions->revoke(actions->arg, report->image, &changed, &client->problem);
	control_client_unlock(client);
	return r == 0 ? put_changed(client, changed) : r;
}

int control_answer_key_restore(struct control_client *client, const struct report *report)
{
	CLEANUP(secret_freep) struct key_secret *secret = key_mem_new(sizeof(*secret));
	const struct control_actions *actions = client->actions;
	bool changed;
	int r;

	if (!actions->restore)
		return -EOPNOTSUPP;
	if (!secret)
		return -ENOMEM;
	r = control_receive_secrets(client, &secret, 1);
	if (r == 0) {
		control_client_lock(client);
		r = actions->restore(actions->arg, report->image, secret, &changed,
				     &client->problem);
		control_client_unlock(client);
	}
	return r == 0 ? put_changed(client, changed) : r;
}
