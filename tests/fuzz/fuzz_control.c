/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: one client of the control socket, of an image that is as
 * `sealblk create` makes it. Input: all that the client ever sends.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/client.h"
#include "control/server.h"
#include "image/create.h"
#include "keys/key_mem.h"

static const struct control_actions actions;

static struct image *make_image(void)
{
	char path[] = "/tmp/sealblk-fuzz-XXXXXX/image";
	char *slash = strrchr(path, '/');
	const char *folder;
	struct key_secret *secret = key_mem_new(sizeof(*secret));
	const struct image_recipe recipe = {
		.disk_bytes = 8 << 20,
		.encryption = true,
		.now_s = 1700000000,
		.secret = secret,
	};
	struct image *image = NULL;
	struct problem problem;
	struct ring *ring = NULL;
	struct store store;
	int r;

	assert(secret);
	secret->kind = KEY_SOURCE_FILE;
	secret->nr_bytes = KEY_FILE_BYTES_MIN;
	*slash = 0;
	folder = mkdtemp(path);
	assert(folder);
	*slash = '/';
	r = ring_sync_new(&ring);
	assert(r == 0);
	r = image_create(ring, path, &recipe, &problem);
	assert(r == 0);
	key_mem_free(secret);
	r = store_file_init(&store, open(path, O_RDWR | O_CLOEXEC), STORE_LOCK_NONE, 0);
	assert(r == 0);
	r = image_load(&store, path, ring, false, &image, &problem);
	assert(r == 0);
	unlink(path);
	*slash = 0;
	rmdir(path);
	return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	static struct control_client client;
	static struct image *image;
	static char answer[1 << 16];
	const _Atomic bool stop = false;
	int ends[2], stop_ends[2];
	ssize_t n;

	if (!image)
		image = make_image();
	if (nr_bytes > 2 * CONTROL_REQUEST_BYTES_MAX)
		return 0;
	n = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
	assert(n == 0);
	n = pipe2(stop_ends, O_CLOEXEC);
	assert(n == 0);
	n = send(ends[1], bytes, nr_bytes, MSG_NOSIGNAL);
	assert(n == (ssize_t)nr_bytes);
	shutdown(ends[1], SHUT_WR);
	client.fd = ends[0];
	client.stop_fd = stop_ends[0];
	client.actions = &actions;
	client.stop = &stop;
	control_client_serve(&client, image);
	close(ends[0]);
	/* Lines, and nothing else. */
	n = recv(ends[1], answer, sizeof(answer), 0);
	assert(n <= 0 || answer[n - 1] == '\n' || n == sizeof(answer));
	close(ends[1]);
	close(stop_ends[0]);
	close(stop_ends[1]);
	return 0;
}
