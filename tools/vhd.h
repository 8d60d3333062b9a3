/* SPDX-License-Identifier: MIT */
/* What `sealblk vhd info` has found out about a file, and its printing. */
#ifndef TOOLS_VHD_H
#define TOOLS_VHD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/problem.h"
#include "sealblk/limits.h"
#include "vhd/azure.h"
#include "vhd/dynamic.h"
#include "vhd/footer.h"

/* Of the footer's copy in the first 512 bytes, which only dynamic and differencing VHDs have. */
enum vhd_copy {
	VHD_COPY_NONE, /* nor is one wanted */
	VHD_COPY_SAME,
	VHD_COPY_DIFFERS,
	VHD_COPY_MISSING,
	VHD_COPY_ALONE, /* the footer at the end is gone or damaged, this one is good */
	VHD_COPIES,
};

struct vhd_findings {
	const char *path;
	uint64_t file_bytes;
	uint64_t data_end_bytes;  /* where its footer begins, if there is one at the end */
	struct vhd_footer footer; /* what is shown: of the end, or the copy if that is ALONE */
	enum vhd_copy copy;
	bool readable; /* @footer is sound in itself: @info is set */
	struct vhd_info info;
	struct vhd_problem why; /* of the footer at the end; reason VHD_FINE: it is sound */
	bool azure[VHD_AZURE_RULES];

	/* Of a dynamic or differencing VHD, as far as it is sound; @why says where that ends. */
	bool has_header;
	struct vhd_dynamic dynamic;
	bool has_bat;
	uint32_t nr_stored; /* blocks that are in the file */

	/* Of a differencing one: what its locators say, where one does. */
	char parent_relative[PATH_BYTES_MAX];
	char parent_absolute[PATH_BYTES_MAX];
};

/* @nr_bytes at @offset_bytes. 0 or a negative errno; the end of the file is -EIO. */
int MUST_CHECK vhd_read_at(int fd, uint64_t offset_bytes, void *ret_bytes, size_t nr_bytes);

/*
 * The part of @found that a fixed VHD does not have; its footer has been judged.
 * Returns 0, also when that part is not sound, or a negative errno.
 */
int MUST_CHECK vhd_examine_dynamic(int fd, struct vhd_findings *found);

/* Is all of it as it should be? */
bool vhd_is_sound(const struct vhd_findings *found);

void vhd_print_text(const struct vhd_findings *found);

/* Returns 0 or -ENOMEM. */
int MUST_CHECK vhd_print_json(const struct vhd_findings *found);

#endif
