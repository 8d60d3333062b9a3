/* SPDX-License-Identifier: MIT */
/* The disk of an image in use: see live.h. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/path.h"

enum { LINE_BYTES = 128 };

/* ---- the scratch file ---- */

/* Where the file system has no files without a name. */
static int make_and_unlink(const char *folder)
{
	char path[PATH_BYTES_MAX];
	int fd = path_join(folder, strlen(folder), ".sealblk-XXXXXX", path);

	if (fd < 0)
		return fd;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

/* Returns the descriptor, or a negative errno with *problem. */
static int make_scratch(const char *destination, struct problem *problem)
{
	char folder[PATH_BYTES_MAX];
	int fd = path_folder(destination, folder);

	if (fd == 0) {
		fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0)
			fd = errno == EOPNOTSUPP || errno == EISDIR ? make_and_unlink(folder)
								    : -errno;
	}
	if (fd < 0)
		problem_set(problem, "destination", destination,
			    "no file can be made beside it: %s", strerror(-fd));
	return fd;
}

static int send_fd(int socket_fd, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { .bytes = { 0 } };
	char byte = 0;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = room.bytes,
		.msg_controllen = sizeof(room.bytes),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* The daemon is to have the only one: when it lets go, the space is free. */
static int give_scratch(struct live *live, const char *destination, struct problem *problem)
{
	int fd = make_scratch(destination, problem);
	int r;

	if (fd < 0)
		return fd;
	r = send_fd(fileno(live->reach->daemon), fd);
	close(fd);
	if (r < 0)
		problem_set(problem, "image", live->reach->path, "its daemon cannot be asked: %s",
			    strerror(-r));
	return r;
}

/* ---- the conversation ---- */

static int bad_answer(const struct live *live, struct problem *problem)
{
	problem_set(problem, "image", live->reach->path, "its daemon has not answered: %s",
		    "what it says makes no sense");
	return -EIO;
}

/* Bytes into @ret_bytes, one at least. Returns how many, or -EIO with *problem. */
static ssize_t receive_some(struct live *live, void *ret_bytes, size_t nr_bytes,
			    struct problem *problem)
{
	ssize_t n;

	do
		n = recv(fileno(live->reach->daemon), ret_bytes, nr_bytes, 0);
	while (n < 0 && errno == EINTR);
	return n > 0 ? n : reach_lost(live->reach, n < 0 ? errno : 0, problem);
}

/* What follows a line may have come with it: it stays in @live->line. */
static int receive_answer(struct live *live, json_t **ret_answer, struct problem *problem)
{
	char *newline;
	int r;

	memmove(live->line, live->line + live->at, live->nr - live->at);
	live->nr -= live->at;
	live->at = 0;
	while (!(newline = memchr(live->line, '\n', live->nr))) {
		ssize_t n;

		if (live->nr == sizeof(live->line))
			return bad_answer(live, problem);
		n = receive_some(live, live->line + live->nr, sizeof(live->line) - live->nr,
				 problem);
		if (n < 0)
			return (int)n;
		live->nr += (size_t)n;
	}
	*newline = 0;
	r = reach_take_answer(live->reach, live->line, ret_answer, problem);
	live->at = (size_t)(newline + 1 - live->line);
	return r;
}

static int receive_bytes(struct live *live, uint8_t *ret_data, size_t nr_bytes,
			 struct problem *problem)
{
	size_t done = min_u64(live->nr - live->at, nr_bytes);

	memcpy(ret_data, live->line + live->at, done);
	live->at += done;
	while (done < nr_bytes) {
		ssize_t n = receive_some(live, ret_data + done, nr_bytes - done, problem);

		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

static int ask(struct live *live, const char *line, json_t **ret_answer)
{
	int r = reach_request(live->reach, line, &live->problem);

	return r == 0 ? receive_answer(live, ret_answer, &live->problem) : r;
}

/* @bytes: of the disk. Returns whether it is a length of 1 to @limit sectors. */
static bool sectors_of(const json_t *bytes, uint64_t limit, uint64_t *ret_sectors)
{
	const json_int_t value = json_integer_value(bytes);

	if (value <= 0 || value % SECTOR_BYTES != 0)
		return false;
	*ret_sectors = bytes_to_sectors((uint64_t)value);
	return *ret_sectors <= limit;
}

static int ask_extent(struct live *live, uint64_t first_sector, uint64_t limit_sectors,
		      bool *ret_hole, uint64_t *ret_sectors)
{
	char line[LINE_BYTES];
	json_t *answer = NULL;
	int r;

	snprintf(line, sizeof(line), "{\"extent\":%" PRIu64 "}\n", sectors_to_bytes(first_sector));
	r = ask(live, line, &answer);
	if (r < 0)
		return r;
	*ret_hole = json_is_true(json_object_get(answer, "hole"));
	if (!sectors_of(json_object_get(answer, "length_bytes"),
			live->source.nr_sectors - first_sector, ret_sectors))
		r = bad_answer(live, &live->problem);
	*ret_sectors = min_u64(*ret_sectors, limit_sectors);
	json_decref(answer);
	return r;
}

static int ask_sectors(struct live *live, uint64_t first_sector, uint32_t nr_sectors,
		       uint8_t *ret_data)
{
	const size_t nr_bytes = sectors_to_bytes(nr_sectors);
	char line[LINE_BYTES];
	uint64_t nr_told;
	json_t *answer = NULL;
	int r;

	snprintf(line, sizeof(line), "{\"read\":%" PRIu64 ",\"length_bytes\":%zu}\n",
		 sectors_to_bytes(first_sector), nr_bytes);
	r = ask(live, line, &answer);
	if (r < 0)
		return r;
	if (!sectors_of(json_object_get(answer, "length_bytes"), nr_sectors, &nr_told) ||
	    nr_told != nr_sectors)
		r = bad_answer(live, &live->problem);
	json_decref(answer);
	return r == 0 ? receive_bytes(live, ret_data, nr_bytes, &live->problem) : r;
}

/* ---- the source ---- */

static struct live *live_of(struct copy_source *source)
{
	return CONTAINER_OF(source, struct live, source);
}

static int extent(struct copy_source *source, unsigned int thread, uint64_t first_sector,
		  uint64_t limit_sectors, bool *ret_hole, uint64_t *ret_sectors)
{
	struct live *live = live_of(source);
	int r;

	(void)thread;
	pthread_mutex_lock(&live->lock);
	if (live->error == 0)
		live->error = ask_extent(live, first_sector, limit_sectors, ret_hole, ret_sectors);
	r = live->error;
	pthread_mutex_unlock(&live->lock);
	return r;
}

static int read_sectors(struct copy_source *source, unsigned int thread, uint64_t first_sector,
			uint32_t nr_sectors, uint8_t *ret_data)
{
	struct live *live = live_of(source);
	int r;

	(void)thread;
	pthread_mutex_lock(&live->lock);
	if (live->error == 0)
		live->error = ask_sectors(live, first_sector, nr_sectors, ret_data);
	r = live->error;
	pthread_mutex_unlock(&live->lock);
	return r;
}

/* ---- the beginning and the end ---- */

static int digit_of(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static int take_footer(const json_t *value, struct image_origin *origin)
{
	const char *text = json_string_value(value);

	origin->has_footer = text != NULL;
	if (!text)
		return 0;
	if (strlen(text) != 2 * sizeof(origin->footer))
		return -EIO;
	for (size_t i = 0; i < sizeof(origin->footer); i++) {
		const int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EIO;
		origin->footer[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int take_facts(struct live *live, const json_t *facts, struct problem *problem)
{
	json_t *files = json_object_get(facts, "files");
	const bool is_base = json_is_true(json_object_get(facts, "is_base"));

	if (take_footer(json_object_get(facts, "footer"), &live->origin) < 0 ||
	    (is_base && !live->origin.has_footer) || !json_is_array(files) ||
	    !sectors_of(json_object_get(facts, "disk_bytes"), DISK_BYTES_MAX / SECTOR_BYTES,
			&live->source.nr_sectors))
		return bad_answer(live, problem);
	live->origin.is_base = is_base;
	live->files = json_incref(files);
	return 0;
}

int live_begin(struct live *live, struct reach *reach, const char *destination,
	       struct problem *problem)
{
	json_t *answer = NULL;
	int r = reach_ask(reach, "export", problem);

	*live = (struct live){
		.source = { .extent = extent, .read = read_sectors, .path = reach->path },
		.reach = reach,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	if (r == 0)
		r = receive_answer(live, &answer, problem);
	if (r < 0)
		return r;
	json_decref(answer);
	r = give_scratch(live, destination, problem);
	if (r == 0)
		r = receive_answer(live, &answer, problem);
	if (r < 0)
		return r;
	r = take_facts(live, answer, problem);
	json_decref(answer);
	return r;
}

void live_done(struct live *live)
{
	json_decref(live->files);
	live->files = NULL;
}

bool live_has(const struct live *live, const char *path)
{
	const json_t *file;
	struct stat st;
	size_t i;

	if (stat(path, &st) < 0)
		return false;
	json_array_foreach(live->files, i, file)
	{
		if ((uint64_t)json_integer_value(json_object_get(file, "device")) == st.st_dev &&
		    (uint64_t)json_integer_value(json_object_get(file, "inode")) == st.st_ino)
			return true;
	}
	return false;
}
