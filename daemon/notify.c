/* SPDX-License-Identifier: MIT */
/* Telling the service manager: see notify.h. */
#include "notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int notify_open(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t nr_bytes = path ? strlen(path) : 0;
	socklen_t address_bytes;
	int fd;

	/* Other kinds (vsock:) are for whoever runs a whole machine. */
	if (nr_bytes < 2 || nr_bytes >= sizeof(address.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(address.sun_path, path, nr_bytes);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* abstract: has a length, and no end */
	address_bytes =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + nr_bytes + (path[0] == '/'));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, address_bytes) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void notify_say(int fd, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int n;

	if (fd < 0)
		return;
	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n > 0 && (size_t)n < sizeof(text))
		(void)send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}
