/* SPDX-License-Identifier: MIT */
/* What `sealblk vhd info` has found out about a file, and its printing. */
#ifndef TOOLS_VHD_H
#define TOOLS_VHD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/problem.h"
#include "vhd/azure.h"
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
	struct vhd_footer footer; /* what is shown: of the end, or the copy if that is ALONE */
	enum vhd_copy copy;
	bool readable; /* @footer is sound in itself: @info is set */
	struct vhd_info info;
	struct vhd_problem why; /* of the footer at the end; reason VHD_FINE: it is sound */
	bool azure[VHD_AZURE_RULES];
};

/* Is all of it as it should be? */
bool vhd_is_sound(const struct vhd_findings *found);

void vhd_print_text(const struct vhd_findings *found);

/* Returns 0 or -ENOMEM. */
int MUST_CHECK vhd_print_json(const struct vhd_findings *found);

#endif
