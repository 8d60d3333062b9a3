/* SPDX-License-Identifier: MIT */
/* Why a VHDX is refused. */
#ifndef VHD_VHDX_REASON_H
#define VHD_VHDX_REASON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* The comments say what the value of a struct vhdx_problem is. */
enum vhdx_reason {
	VHDX_FINE,

	/* The first MiB. */
	VHDX_NO_SIGNATURE,
	VHDX_TOO_SHORT, /* bytes of the file */
	VHDX_TOO_LONG,	/* bytes of the file */
	VHDX_NO_HEADER,
	VHDX_HEADERS_DIFFER,  /* their sequence number */
	VHDX_BAD_VERSION,     /* stored */
	VHDX_BAD_LOG_VERSION, /* stored */
	VHDX_LOG_PLACE,	      /* offset of the log */
	VHDX_NO_REGION_TABLE,
	VHDX_TOO_MANY_REGIONS, /* entries */
	VHDX_REGION_PLACE,     /* offset of the region */
	VHDX_REGION_OUTSIDE,   /* offset of the region */
	VHDX_REGION_TWICE,
	VHDX_REGION_UNKNOWN,
	VHDX_NO_BAT,
	VHDX_NO_METADATA,
	VHDX_REGIONS_OVERLAP, /* offset of the other one */

	/* The log; at: of an entry. */
	VHDX_LOG_TOO_LONG, /* bytes */
	VHDX_LOG_EMPTY,
	VHDX_LOG_NO_SEQUENCE,
	VHDX_LOG_OTHER_ID,
	VHDX_LOG_BAD_LENGTH,	 /* bytes */
	VHDX_LOG_BAD_SEQUENCE,	 /* stored */
	VHDX_LOG_BAD_TAIL,	 /* stored */
	VHDX_LOG_BAD_COUNT,	 /* descriptors */
	VHDX_LOG_BAD_DESCRIPTOR, /* its number */
	VHDX_LOG_TORN,		 /* number of the data sector */
	VHDX_LOG_BAD_CHECKSUM,	 /* computed */
	VHDX_LOG_CUT,		 /* bytes the file had */
	VHDX_LOG_ON_HEADER,
	VHDX_LOG_ON_PAYLOAD,

	/* The metadata. */
	VHDX_NO_TABLE,
	VHDX_TOO_MANY_ITEMS, /* entries */
	VHDX_ITEM_PLACE,     /* offset in the region */
	VHDX_ITEMS_OVERLAP,
	VHDX_ITEM_TWICE,
	VHDX_ITEM_UNKNOWN,
	VHDX_NO_FILE_PARAMETERS,
	VHDX_NO_DISK_SIZE,
	VHDX_NO_DISK_ID,
	VHDX_NO_LOGICAL_SECTOR,
	VHDX_NO_PHYSICAL_SECTOR,
	VHDX_NO_PARENT_LOCATOR,
	VHDX_ITEM_LENGTH,    /* bytes */
	VHDX_BAD_BLOCK_SIZE, /* stored, as are the next ones */
	VHDX_BAD_DISK_SIZE,
	VHDX_BAD_LOGICAL_SECTOR,
	VHDX_BAD_PHYSICAL_SECTOR,
	VHDX_LOCATOR_TYPE,
	VHDX_LOCATOR_UNSOUND,
	VHDX_LOCATOR_NO_LINKAGE,

	/* The BAT; at: of an entry. */
	VHDX_TOO_MANY_BLOCKS,	     /* blocks */
	VHDX_BAT_TOO_SHORT,	     /* entries that are needed */
	VHDX_BAD_STATE,		     /* stored */
	VHDX_BAD_ENTRY,		     /* stored */
	VHDX_PARTIAL_WITHOUT_PARENT, /* block */
	VHDX_NO_BITMAP,		     /* block */
	VHDX_BLOCK_OUTSIDE,	     /* offset of the block, as are the next ones */
	VHDX_BLOCK_ON_REGION,
	VHDX_BLOCKS_OVERLAP,
	VHDX_REASONS,
};

struct vhdx_problem {
	enum vhdx_reason reason;
	uint64_t at_bytes; /* where in the file the field is that tells it */
	uint64_t value;
};

/* How a reason is told (image/vhd_problem.h puts it together). */
struct vhdx_reason_words {
	const char *text;  /* a short English sentence part */
	const char *value; /* what the value is, or NULL: there is none */
};

const struct vhdx_reason_words *vhdx_reason_words(enum vhdx_reason reason);

/* Fill in *ret_problem. Returns -EINVAL. */
int MUST_CHECK vhdx_refuse(struct vhdx_problem *ret_problem, enum vhdx_reason reason,
			   uint64_t at_bytes, uint64_t value);

#endif
