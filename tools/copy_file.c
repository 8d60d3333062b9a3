/* SPDX-License-Identifier: MIT */
/* A sink of copies that is a file: see copy_file.h. */
#include "copy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhd.h"
#include "vhd/layout.h"

static int write_at(int fd, uint64_t offset_bytes, const void *bytes, size_t nr_bytes)
{
	const uint8_t *from = bytes;

	while (nr_bytes > 0) {
		ssize_t put = pwrite(fd, from, nr_bytes, (off_t)offset_bytes);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		from += put;
		offset_bytes += (uint64_t)put;
		nr_bytes -= (size_t)put;
	}
	return 0;
}

/*
 * The disk writes while the rest is read, and the final fsync has little left. A
 * hint: what it cannot say fsync will.
 */
static void start_writing(int fd, uint64_t offset_bytes, size_t nr_bytes)
{
	(void)sync_file_range(fd, (off_t)offset_bytes, (off_t)nr_bytes, SYNC_FILE_RANGE_WRITE);
}

/* ---- the file is the disk ---- */

static int write_flat(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		      uint32_t nr_sectors, uint8_t *data)
{
	const struct copy_file *file = CONTAINER_OF(sink, struct copy_file, sink);
	const uint64_t at = sectors_to_bytes(first_sector);
	const size_t nr_bytes = (size_t)nr_sectors * SECTOR_BYTES;
	int r = write_at(file->fd, at, data, nr_bytes);

	(void)thread;
	if (r == 0)
		start_writing(file->fd, at, nr_bytes);
	return r;
}

static int read_flat(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		     uint32_t nr_sectors, uint8_t *ret_data)
{
	const struct copy_file *file = CONTAINER_OF(sink, struct copy_file, sink);

	(void)thread;
	return vhd_read_at(file->fd, sectors_to_bytes(first_sector), ret_data,
			   (size_t)nr_sectors * SECTOR_BYTES);
}

static int punch(const struct copy_file *file, uint64_t offset_bytes, uint64_t nr_bytes)
{
	return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset_bytes,
			 (off_t)nr_bytes) < 0
		       ? -errno
		       : 0;
}

static int clear_flat(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		      uint64_t nr_sectors)
{
	const struct copy_file *file = CONTAINER_OF(sink, struct copy_file, sink);

	(void)thread;
	return punch(file, sectors_to_bytes(first_sector), sectors_to_bytes(nr_sectors));
}

/* ---- dynamic ---- */

/* Where the block's data is, or 0: it is not stored. */
static uint64_t data_of(struct copy_file *file, uint32_t block)
{
	uint32_t sector;

	pthread_mutex_lock(&file->lock);
	sector = be32_get(file->bat[block]);
	pthread_mutex_unlock(&file->lock);
	return sector == VHD_BLOCK_UNUSED ? 0 : sectors_to_bytes(sector) + VHD_LAYOUT_BITMAP_BYTES;
}

/* Its sectors are all there from now on: those nobody writes are zeros. */
static int store_block(struct copy_file *file, uint32_t block)
{
	uint8_t bitmap[VHD_LAYOUT_BITMAP_BYTES];
	int r = 0;

	memset(bitmap, 0xff, sizeof(bitmap));
	pthread_mutex_lock(&file->lock);
	if (be32_get(file->bat[block]) == VHD_BLOCK_UNUSED) {
		uint64_t at = vhd_layout_block_at(file->nr_blocks, file->nr_stored);

		r = write_at(file->fd, at, bitmap, sizeof(bitmap));
		if (r == 0) {
			file->bat[block] = be32_of((uint32_t)bytes_to_sectors(at));
			file->nr_stored++;
		}
	}
	pthread_mutex_unlock(&file->lock);
	return r;
}

/* Blocks are of whole pieces. */
_Static_assert(VHD_BLOCK_BYTES_DEFAULT % COPY_PIECE_BYTES == 0, "a piece is of one block");

static int write_block(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		       uint32_t nr_sectors, uint8_t *data)
{
	struct copy_file *file = CONTAINER_OF(sink, struct copy_file, sink);
	const uint64_t at = sectors_to_bytes(first_sector);
	const uint32_t block = (uint32_t)(at / VHD_BLOCK_BYTES_DEFAULT);
	const size_t nr_bytes = (size_t)nr_sectors * SECTOR_BYTES;
	int r = store_block(file, block);
	uint64_t to;

	(void)thread;
	if (r < 0)
		return r;
	to = data_of(file, block) + at % VHD_BLOCK_BYTES_DEFAULT;
	r = write_at(file->fd, to, data, nr_bytes);
	if (r == 0)
		start_writing(file->fd, to, nr_bytes);
	return r;
}

static int read_block(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		      uint32_t nr_sectors, uint8_t *ret_data)
{
	struct copy_file *file = CONTAINER_OF(sink, struct copy_file, sink);
	const uint64_t at = sectors_to_bytes(first_sector);
	const size_t nr_bytes = (size_t)nr_sectors * SECTOR_BYTES;
	const uint64_t data = data_of(file, (uint32_t)(at / VHD_BLOCK_BYTES_DEFAULT));

	(void)thread;
	if (data > 0)
		return vhd_read_at(file->fd, data + at % VHD_BLOCK_BYTES_DEFAULT, ret_data,
				   nr_bytes);
	memset(ret_data, 0, nr_bytes);
	return 0;
}

static int clear_blocks(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
			uint64_t nr_sectors)
{
	struct copy_file *file = CONTAINER_OF(sink, struct copy_file, sink);
	const uint64_t end = sectors_to_bytes(first_sector + nr_sectors);
	uint64_t at = sectors_to_bytes(first_sector);
	int r = 0;

	(void)thread;
	while (at < end && r == 0) {
		const uint64_t within = at % VHD_BLOCK_BYTES_DEFAULT;
		const uint64_t nr_bytes = min_u64(end - at, VHD_BLOCK_BYTES_DEFAULT - within);
		const uint64_t data = data_of(file, (uint32_t)(at / VHD_BLOCK_BYTES_DEFAULT));

		if (data > 0)
			r = punch(file, data + within, nr_bytes);
		at += nr_bytes;
	}
	return r;
}

static int put_tables(const struct copy_file *file)
{
	struct vhd_dynamic_header header;
	const uint64_t bat_bytes = vhd_layout_bat_bytes(file->nr_blocks);
	int r;

	vhd_layout_header(file->nr_blocks, &header);
	r = write_at(file->fd, VHD_LAYOUT_HEADER_AT, &header, sizeof(header));
	return r == 0 ? write_at(file->fd, VHD_LAYOUT_BAT_AT, file->bat, bat_bytes) : r;
}

/* The blocks that an earlier run has stored must be the first ones, each once. */
static int take_bat(struct copy_file *file)
{
	const uint64_t bat_bytes = vhd_layout_bat_bytes(file->nr_blocks);
	bool *seen = calloc(file->nr_blocks, sizeof(*seen));
	int r = seen ? vhd_read_at(file->fd, VHD_LAYOUT_BAT_AT, file->bat, bat_bytes) : -ENOMEM;
	const uint64_t first = vhd_layout_block_at(file->nr_blocks, 0);
	const uint64_t stride = vhd_layout_block_at(file->nr_blocks, 1) - first;

	for (uint32_t i = 0; i < file->nr_blocks && r == 0; i++) {
		uint64_t at = sectors_to_bytes(be32_get(file->bat[i]));
		uint64_t number = (at - first) / stride;

		if (be32_get(file->bat[i]) == VHD_BLOCK_UNUSED)
			continue;
		if (at < first || (at - first) % stride != 0 || number >= file->nr_blocks ||
		    seen[number])
			r = -EUCLEAN;
		else
			seen[number] = true;
		file->nr_stored++;
	}
	for (uint32_t i = 0; i < file->nr_stored && r == 0; i++)
		r = seen[i] ? 0 : -EUCLEAN;
	free(seen);
	return r;
}

static int init_dynamic(struct copy_file *file, bool resume)
{
	file->nr_blocks = vhd_layout_blocks(file->disk_bytes);
	file->bat = malloc(vhd_layout_bat_bytes(file->nr_blocks));
	if (!file->bat)
		return -ENOMEM;
	memset(file->bat, 0xff, vhd_layout_bat_bytes(file->nr_blocks));
	return resume ? take_bat(file) : 0;
}

/* ---- all formats ---- */

int copy_file_init(struct copy_file *file, enum tool_format format, int fd, const char *path,
		   uint64_t disk_bytes, bool resume, struct problem *problem)
{
	const bool dynamic = format == TOOL_FORMAT_VHD_DYNAMIC;
	int r = 0;

	*file = (struct copy_file){
		.sink = { .write = dynamic ? write_block : write_flat,
			  .read = dynamic ? read_block : read_flat,
			  .clear = dynamic ? clear_blocks : clear_flat,
			  .path = path },
		.format = format,
		.fd = fd,
		.disk_bytes = disk_bytes,
	};
	pthread_mutex_init(&file->lock, NULL);
	if (dynamic && disk_bytes > VHD_DYNAMIC_DISK_BYTES_MAX)
		r = -EFBIG;
	else if (dynamic)
		r = init_dynamic(file, resume);
	else if (ftruncate(fd, (off_t)disk_bytes) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	problem_set(problem, "destination", path,
		    dynamic && r == -EFBIG ? "a dynamic VHD has a disk of 2040 GiB at most%s"
					   : "cannot be made: %s",
		    dynamic && r == -EFBIG ? "" : strerror(-r));
	copy_file_done(file);
	return r;
}

void copy_file_done(struct copy_file *file)
{
	free(file->bat);
	file->bat = NULL;
}

int copy_file_suspend(struct copy_file *file)
{
	return file->format == TOOL_FORMAT_VHD_DYNAMIC ? put_tables(file) : 0;
}

static int finish_dynamic(const struct copy_file *file, struct vhd_footer footer)
{
	int r = put_tables(file);

	vhd_footer_make_dynamic(&footer);
	if (r == 0)
		r = write_at(file->fd, 0, &footer, sizeof(footer));
	return r == 0 ? write_at(file->fd, vhd_layout_footer_at(file->nr_blocks, file->nr_stored),
				 &footer, sizeof(footer))
		      : r;
}

int copy_file_finish(struct copy_file *file, const struct vhd_footer *footer)
{
	if (file->format == TOOL_FORMAT_RAW)
		return 0;
	if (file->format == TOOL_FORMAT_VHD_DYNAMIC)
		return finish_dynamic(file, *footer);
	return write_at(file->fd, file->disk_bytes, footer, sizeof(*footer));
}
