/* SPDX-License-Identifier: MIT */
/* What clients of the control socket may have done: see control/server.h. */
#include "actions.h"

#include <errno.h>

#include "account.h"
#include "base/log.h"
#include "moment.h"
#include "revoke.h"
#include "rewrite.h"
#include "sockets.h"
#include "switch.h"

static int switch_plane(void *server, struct image *image, enum image_target target,
			struct problem *problem)
{
	return server_switch(server, image, target, problem);
}

static void publish_slot(struct server *server, const struct image *image, const char *event,
			 unsigned int slot)
{
	control_publish(&server->events, image,
			json_pack("{s:s, s:i}", "event", event, "slot", (int)slot));
}

/* With server->changes held. */
static int change_keys(void *arg, struct image *image, const struct key_change *change,
		       struct key_change_result *ret_result, struct problem *problem)
{
	int r = image->super.revoked ? server_refuse_revoked(image, problem)
				     : image_change_keys(image, change, ret_result, problem);
	struct server *server = arg;

	if (r == -EIO)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	if (r == 0 && ret_result->added) {
		log_line(LOG_LEVEL_INFO, "image %s: a key was added in slot %u", image->path,
			 ret_result->new_slot);
		publish_slot(server, image, "key-added", ret_result->new_slot);
	}
	if (r == 0 && ret_result->removed) {
		log_line(LOG_LEVEL_INFO, "image %s: the key in slot %u was removed", image->path,
			 ret_result->old_slot);
		publish_slot(server, image, "key-removed", ret_result->old_slot);
	}
	return r;
}

static int revoke_keys(void *server, struct image *image, bool *ret_changed,
		       struct problem *problem)
{
	return server_revoke(server, image, ret_changed, problem);
}

static int restore_keys(void *server, struct image *image, const struct key_secret *secret,
			bool *ret_changed, struct problem *problem)
{
	return server_restore(server, image, secret, ret_changed, problem);
}

static int rewrite(void *server, struct image *image, const struct rewrite_order *order,
		   struct problem *problem)
{
	return server_rewrite(server, image, order, problem);
}

static json_t *tell_policy(void *server)
{
	return account_json(server);
}

static json_t *tell_sockets(void *server, const struct image *image)
{
	return server_sockets_json(server, image);
}

struct control_actions server_actions(struct server *server)
{
	return (struct control_actions){
		.changes = &server->changes,
		.events = &server->events,
		.switch_plane = switch_plane,
		.change_keys = change_keys,
		.revoke = revoke_keys,
		.rewrite = rewrite,
		.restore = restore_keys,
		.tell_policy = tell_policy,
		.moments = &server_moments,
		.tell_sockets = tell_sockets,
		.arg = server,
	};
}
