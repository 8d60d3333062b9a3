/* SPDX-License-Identifier: MIT */
/* Why a VHD is refused. */
#ifndef VHD_REASON_H
#define VHD_REASON_H

#include <stdbool.h>
#include <stdint.h>

/* The comments say what a struct vhd_problem holds beside the reason: stored; computed. */
enum vhd_reason {
	VHD_FINE,

	/* The footer. */
	VHD_NO_COOKIE,
	VHD_OLD_FOOTER,	  /* 511 bytes, before Virtual PC 2004 */
	VHD_BAD_CHECKSUM, /* stored; computed */
	VHD_BAD_VERSION,  /* stored; known */
	VHD_BAD_TYPE,	  /* stored */
	VHD_SIZE_ZERO,
	VHD_SIZE_NOT_SECTORS,	  /* bytes */
	VHD_SIZE_TOO_LARGE,	  /* bytes; the limit */
	VHD_SIZE_BEYOND_FILE,	  /* bytes of disk; bytes before the footer */
	VHD_GEOMETRY_BEYOND_SIZE, /* bytes by geometry; bytes by current_bytes */

	/* The dynamic header. */
	VHD_HEADER_OUTSIDE, /* offset */
	VHD_HEADER_NO_COOKIE,
	VHD_HEADER_BAD_CHECKSUM, /* stored; computed */
	VHD_HEADER_BAD_VERSION,	 /* stored; known */
	VHD_BLOCK_SIZE_BAD,	 /* bytes */

	/* The BAT. */
	VHD_BAT_TOO_SHORT,   /* entries; blocks of the disk */
	VHD_BAT_TOO_LONG,    /* blocks of the disk; the limit */
	VHD_BAT_OUTSIDE,     /* offset; entries */
	VHD_BAT_ON_HEADER,   /* offset */
	VHD_BLOCK_ON_HEADER, /* block; its sector in the file */
	VHD_BLOCK_ON_BAT,    /* as above, and below */
	VHD_BLOCK_ON_FOOTER,
	VHD_BLOCK_BEYOND_FILE,
	VHD_BLOCKS_OVERLAP, /* block; block */
	VHD_REASONS,
};

struct vhd_problem {
	enum vhd_reason reason;
	uint64_t stored;
	uint64_t computed;
};

/* How a reason is told (image/vhd_problem.h puts it together). */
struct vhd_reason_words {
	const char *text;     /* a short English sentence part */
	const char *stored;   /* what the first number is, or NULL: there is none */
	const char *computed; /* the second one */
	bool hex;
};

const struct vhd_reason_words *vhd_reason_words(enum vhd_reason reason);

/* Fill in *ret_problem. Returns -EINVAL. */
int vhd_refuse(struct vhd_problem *ret_problem, enum vhd_reason reason, uint64_t stored,
	       uint64_t computed);

#endif
