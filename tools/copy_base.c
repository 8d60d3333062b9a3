/* SPDX-License-Identifier: MIT */
/* A source of copies that is a disk in a file: see copy_base.h. */
#include "copy_base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhd.h"

/* ---- reading ---- */

/* Of one of its layers, as base_locate() says. */
static const struct store *store_of(const struct base *base, int fd)
{
	unsigned int i = 0;

	while (i + 1 < base->nr_layers && base->layers[i]->store.fd != fd)
		i++;
	return &base->layers[i]->store;
}

/* See to it that @from->run has the byte @at_bytes of @fd. */
static int find_run(struct copy_base *from, int fd, uint64_t at_bytes)
{
	struct copy_run_in_file *run = &from->run;
	const struct store *store = store_of(&from->base, fd);
	uint64_t nr_bytes;
	int r;

	if (run->fd == fd && run->first_bytes <= at_bytes && at_bytes < run->end_bytes)
		return 0;
	r = store_extent(store, at_bytes, store->bytes - at_bytes, &run->hole, &nr_bytes);
	run->fd = fd;
	run->first_bytes = at_bytes;
	run->end_bytes = r < 0 ? 0 : at_bytes + nr_bytes;
	return r;
}

/* Of what lies in one piece. A sector that is a hole in part is data. */
static int extent_of(struct copy_base *from, uint64_t first_sector, uint64_t limit_sectors,
		     bool *ret_hole, uint64_t *ret_sectors)
{
	struct base_place place;
	uint64_t run_bytes;
	int r = base_locate(&from->base, first_sector, limit_sectors, &place);

	*ret_hole = true;
	*ret_sectors = place.nr_sectors;
	if (r < 0 || base_place_is_hole(&place))
		return r;
	r = find_run(from, place.fd, place.offset_bytes);
	if (r < 0)
		return r;
	*ret_hole = from->run.hole;
	run_bytes = from->run.end_bytes - place.offset_bytes;
	if (run_bytes >= place.stored_bytes)
		return 0;
	*ret_sectors = (*ret_hole ? run_bytes : round_up(run_bytes, SECTOR_BYTES)) / SECTOR_BYTES;
	if (*ret_sectors == 0) {
		*ret_hole = false;
		*ret_sectors = 1;
	}
	return 0;
}

/* Blocks that follow each other on the disk lie apart in the file: joined, up to a piece. */
static int extent(struct copy_source *source, unsigned int thread, uint64_t first_sector,
		  uint64_t limit_sectors, bool *ret_hole, uint64_t *ret_sectors)
{
	struct copy_base *from = CONTAINER_OF(source, struct copy_base, source);
	uint64_t done = 0, nr_sectors;
	bool hole;

	(void)thread;
	do {
		int r = extent_of(from, first_sector + done, limit_sectors - done, &hole,
				  &nr_sectors);

		if (r < 0)
			return r;
		if (done > 0 && hole != *ret_hole)
			break;
		*ret_hole = hole;
		done += nr_sectors;
	} while (done < limit_sectors && done < COPY_PIECE_SECTORS);
	*ret_sectors = done;
	return 0;
}

static int read_sectors(struct copy_source *source, unsigned int thread, uint64_t first_sector,
			uint32_t nr_sectors, uint8_t *ret_data)
{
	const struct copy_base *from = CONTAINER_OF(source, struct copy_base, source);
	struct base_place place;

	(void)thread;
	for (uint64_t done = 0; done < nr_sectors; done += place.nr_sectors) {
		uint8_t *to = ret_data + sectors_to_bytes(done);
		int r = base_locate(&from->base, first_sector + done, nr_sectors - done, &place);

		if (r == 0 && place.stored_bytes > 0)
			r = vhd_read_at(place.fd, place.offset_bytes, to, place.stored_bytes);
		if (r < 0)
			return r;
		memset(to + place.stored_bytes, 0,
		       sectors_to_bytes(place.nr_sectors) - place.stored_bytes);
	}
	return 0;
}

/* ---- identity ---- */

json_t *copy_file_identity(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	return json_pack("[I, I, I, I, I]", (json_int_t)st.st_dev, (json_int_t)st.st_ino,
			 (json_int_t)st.st_size, (json_int_t)st.st_mtim.tv_sec,
			 (json_int_t)st.st_mtim.tv_nsec);
}

json_t *copy_base_identity(const struct base *base)
{
	json_t *files = json_array();

	for (unsigned int i = 0; i < base->nr_layers; i++) {
		if (json_array_append_new(files, copy_file_identity(base->layers[i]->store.fd)) ==
		    0)
			continue;
		json_decref(files);
		return NULL;
	}
	return files;
}

bool copy_base_has(const struct base *base, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	for (unsigned int i = 0; i < base->nr_layers; i++)
		if (base->layers[i]->store.inode == st.st_ino &&
		    base->layers[i]->store.device == st.st_dev)
			return true;
	return false;
}

int copy_base_check(const struct copy_base *from, struct problem *problem)
{
	json_t *now = copy_base_identity(&from->base);
	const bool same = now && json_equal(now, from->identity);

	json_decref(now);
	if (same)
		return 0;
	problem_set(problem, "source", from->source.path,
		    "has changed while it was read: nothing was kept of it");
	return -ESTALE;
}

/* ---- opening ---- */

/* base_open() speaks of bases. */
static void call_it_source(struct problem *problem)
{
	static const char is[] = "base ";
	struct problem was = *problem;

	if (strncmp(was.text, is, sizeof(is) - 1) == 0)
		snprintf(problem->text, sizeof(problem->text), "source %.*s",
			 (int)sizeof(problem->text) - 8, was.text + sizeof(is) - 1);
}

int copy_base_open(struct copy_base *from, const char *name, struct problem *problem)
{
	char path[PATH_BYTES_MAX];
	enum base_format format;
	const char *wrong = tool_split_format(name, path, &format);
	int fd, r;

	*from = (struct copy_base){ .source.path = name };
	if (wrong) {
		problem_set(problem, "source", name, "%s", wrong);
		return -EINVAL;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		r = -errno;
		problem_set(problem, "source", path, "cannot be opened: %s", strerror(-r));
		return r;
	}
	r = base_open(&from->base, fd, path, format, &base_opener_direct, problem);
	if (r < 0) {
		call_it_source(problem);
		return base_is_refused(r) ? -EUCLEAN : r;
	}
	from->source.extent = extent;
	from->source.read = read_sectors;
	from->source.nr_sectors = bytes_to_sectors(from->base.disk_bytes);
	if (from->base.layers[0]->format == BASE_RAW)
		from->source.missing_bytes =
			(uint32_t)(from->base.disk_bytes - from->base.layers[0]->store.bytes);
	from->identity = copy_base_identity(&from->base);
	if (from->identity)
		return 0;
	copy_base_close(from);
	problem_set(problem, "source", path, "no memory to read it");
	return -ENOMEM;
}

void copy_base_close(struct copy_base *from)
{
	json_decref(from->identity);
	from->identity = NULL;
	base_close(&from->base);
}
