/* SPDX-License-Identifier: MIT */
/* The files beside an image that is to be served: held against the record, adopted, told to the map. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/base_own.h"
#include "image/image.h"
#include "sealblk/units.h"

static int base_extent_of(void *base, uint64_t first_sector, uint64_t limit_sectors, bool *ret_hole,
			  uint64_t *ret_sectors)
{
	return base_extent(base, first_sector, limit_sectors, ret_hole, ret_sectors);
}

static int base_locate_of(const void *base, uint64_t first_sector, uint64_t limit_sectors,
			  struct base_place *ret_place)
{
	return base_locate(base, first_sector, limit_sectors, ret_place);
}

/*
 * An image that has been open before had its base adopted by then: this one is from
 * before that, put back, with all that has been superseded since. As if the image
 * had not been closed, recovery is to punch it, also after a crash from here on.
 */
static int expect_old_base(struct image *image, struct problem *problem)
{
	if (base_is_adopted(&image->base_identity, &image->base) ||
	    image->super.open_state != SEAL_CLEAN || le64_get(image->super.open_seq) == 0)
		return 0;
	image->super.open_state = SEAL_UNCLEAN;
	memset(image->super.boot_id, 0, sizeof(image->super.boot_id)); /* it has no dirty file */
	if (image_write_super(image) == 0)
		return 0;
	problem_set(problem, "image", image->path, "cannot write its superblock");
	return -EIO;
}

/* What the base loses is the map's to say: which file, and how much of it. */
static int own_base(struct image *image, struct problem *problem)
{
	struct map_config *config = &image->disk.map.config;
	int r = expect_old_base(image, problem);

	if (r == 0)
		r = base_adopt(&image->base_identity, &image->base, problem);
	if (r < 0)
		return r;
	image->owned_base = base_store(&image->base);
	config->owns_base = true;
	config->base_fd = image->disk.base_fd;
	config->base_sectors = bytes_to_sectors(image->disk.base_data_bytes);
	return 0;
}

int image_attach_base(struct image *image, int fd, const char *path,
		      const struct base_opener *opener, struct problem *problem)
{
	struct disk *disk = &image->disk;
	int r = base_open(&image->base, fd, path, image->base_identity.format, opener, problem);

	if (r == 0)
		r = base_identity_check(&image->base_identity, &image->base, path,
					&image->base_touched, problem);
	if (r < 0)
		return base_is_refused(r) ? -EUCLEAN : r;
	if (base_is_flat(&image->base, &disk->base_data_bytes)) {
		disk->base_fd = base_store(&image->base)->fd;
		disk->base_in_memory = base_store(&image->base)->in_memory;
	} else {
		disk->base_locate = base_locate_of;
		disk->base = &image->base;
	}
	disk->map.config.base = &image->base;
	disk->map.config.base_extent = base_extent_of;
	return image->base_identity.owned && image->writable ? own_base(image, problem) : 0;
}

/* The second sector alone: a device of larger blocks takes no such read. */
static int try_direct(int fd)
{
	uint8_t sector[SECTOR_BYTES] __attribute__((aligned(4096)));

	return pread(fd, sector, sizeof(sector), SECTOR_BYTES) < 0 ? -errno : 0;
}

static bool is_same_file(const struct image *image, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_ino == image->store.inode &&
	       st.st_dev == image->store.device;
}

int image_use_direct(struct image *image, int fd, struct problem *problem)
{
	int r = is_same_file(image, fd) ? try_direct(fd) : -ESTALE;

	if (r < 0) {
		close(fd);
		problem_set(problem, "image", image->path, "%s",
			    r == -ESTALE ? "its file has been replaced"
			    : r == -EINVAL
				    ? "its disk does not take single sectors past the page cache: "
				      "leave out --cache none"
				    : strerror(-r));
		return r;
	}
	image->direct_fd = fd;
	image->disk.map.config.data_fd = fd;
	image->disk.map.config.direct = true;
	return 0;
}
