/* SPDX-License-Identifier: MIT */
/* Where NBD is spoken: see sockets.h. */
#include "sockets.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Ours was bound under another name than it has now; of an inherited one only the kernel knows. */
static bool find_path(const struct listener *listener, char ret_path[PATH_MAX])
{
	struct sockaddr_un address = { 0 };
	socklen_t bytes = sizeof(address) - 1;

	if (listener->is_tcp)
		return false;
	if (listener->unix_path)
		return realpath(listener->unix_path, ret_path) != NULL;
	return getsockname(listener->fd, (struct sockaddr *)&address, &bytes) == 0 &&
	       address.sun_path[0] == '/' && realpath(address.sun_path, ret_path) != NULL;
}

int server_find_sockets(struct server *server)
{
	char path[PATH_MAX];
	json_t *path_json;

	server->unix_sockets = json_array();
	if (!server->unix_sockets)
		return -ENOMEM;
	for (unsigned int i = 0; i < server->nr_listeners; i++) {
		if (!find_path(&server->listeners[i], path))
			continue;
		path_json = json_string(path);
		/* A path that is not UTF-8, which JSON cannot hold, is left out. */
		if (path_json && json_array_append_new(server->unix_sockets, path_json) < 0)
			return -ENOMEM;
	}
	return 0;
}

json_t *server_sockets_json(const struct server *server, const struct image *image)
{
	for (unsigned int i = 0; i < server->nr_exports; i++)
		if (server->images[i] == image)
			return json_pack("{s:s, s:O}", "export", server->exports[i].name, "unix",
					 server->unix_sockets);
	return NULL;
}
