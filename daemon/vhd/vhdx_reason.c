/* SPDX-License-Identifier: MIT */
/* Why a VHDX is refused: see vhdx_reason.h. */
#include "vhd/vhdx_reason.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static const struct vhdx_reason_words words[VHDX_REASONS] = {
	[VHDX_FINE] = { "nothing is wrong", NULL },

	[VHDX_NO_SIGNATURE] = { "there is no VHDX signature", NULL },
	[VHDX_TOO_SHORT] = { "the file is too short for a VHDX", "bytes:" },
	[VHDX_TOO_LONG] = { "the file is longer than the limit", "bytes:" },
	[VHDX_NO_HEADER] = { "neither VHDX header is sound", NULL },
	[VHDX_HEADERS_DIFFER] = { "both VHDX headers have one sequence number, but differ",
				  "number" },
	[VHDX_BAD_VERSION] = { "VHDX header has an unknown version", "version" },
	[VHDX_BAD_LOG_VERSION] = { "VHDX log has an unknown version", "version" },
	[VHDX_LOG_PLACE] = { "VHDX header puts the log where none can be", "at" },
	[VHDX_NO_REGION_TABLE] = { "neither VHDX region table is sound", NULL },
	[VHDX_TOO_MANY_REGIONS] = { "VHDX region table has too many entries", "entries:" },
	[VHDX_REGION_PLACE] = { "VHDX region's place is not in whole MiB behind the first",
				"place" },
	[VHDX_REGION_OUTSIDE] = { "VHDX region reaches past the end of the file", "place" },
	[VHDX_REGION_TWICE] = { "VHDX region table has a region twice", NULL },
	[VHDX_REGION_UNKNOWN] = { "VHDX has an unknown region that is required", NULL },
	[VHDX_NO_BAT] = { "VHDX region table has no block allocation table", NULL },
	[VHDX_NO_METADATA] = { "VHDX region table has no metadata", NULL },
	[VHDX_REGIONS_OVERLAP] = { "VHDX region overlaps another, or the log", "that one at" },

	[VHDX_LOG_TOO_LONG] = { "VHDX log that is to be replayed is longer than the limit",
				"bytes:" },
	[VHDX_LOG_EMPTY] = { "VHDX log is to be replayed, but has no entry", NULL },
	[VHDX_LOG_NO_SEQUENCE] = { "VHDX log is to be replayed, but its oldest entry is missing",
				   NULL },
	[VHDX_LOG_OTHER_ID] = { "VHDX log entry has another log GUID than the header", NULL },
	[VHDX_LOG_BAD_LENGTH] = { "VHDX log entry's length is impossible", "bytes:" },
	[VHDX_LOG_BAD_SEQUENCE] = { "VHDX log entry's sequence number is impossible", "number" },
	[VHDX_LOG_BAD_TAIL] = { "VHDX log entry's tail is impossible", "tail" },
	[VHDX_LOG_BAD_COUNT] = { "VHDX log entry's descriptors do not fit its length", "count" },
	[VHDX_LOG_BAD_DESCRIPTOR] = { "VHDX log entry has an unsound descriptor", "number" },
	[VHDX_LOG_TORN] = { "VHDX log entry is torn: a data sector is not its own", "number" },
	[VHDX_LOG_BAD_CHECKSUM] = { "VHDX log entry's checksum is wrong", "computed" },
	[VHDX_LOG_CUT] = { "file has been cut: by its VHDX log it was longer", "bytes:" },
	[VHDX_LOG_ON_HEADER] = { "VHDX log entry would change the headers", NULL },
	[VHDX_LOG_ON_PAYLOAD] = { "VHDX log would change data of the disk", NULL },

	[VHDX_NO_TABLE] = { "there is no VHDX metadata table", NULL },
	[VHDX_TOO_MANY_ITEMS] = { "VHDX metadata table has too many entries", "entries:" },
	[VHDX_ITEM_PLACE] = { "VHDX metadata item is not inside its region", "offset" },
	[VHDX_ITEMS_OVERLAP] = { "VHDX metadata items overlap", NULL },
	[VHDX_ITEM_TWICE] = { "VHDX metadata has an item twice", NULL },
	[VHDX_ITEM_UNKNOWN] = { "VHDX metadata has an unknown item that is required", NULL },
	[VHDX_NO_FILE_PARAMETERS] = { "VHDX metadata lacks the file parameters", NULL },
	[VHDX_NO_DISK_SIZE] = { "VHDX metadata lacks the disk's size", NULL },
	[VHDX_NO_DISK_ID] = { "VHDX metadata lacks the disk's id", NULL },
	[VHDX_NO_LOGICAL_SECTOR] = { "VHDX metadata lacks the logical sector size", NULL },
	[VHDX_NO_PHYSICAL_SECTOR] = { "VHDX metadata lacks the physical sector size", NULL },
	[VHDX_NO_PARENT_LOCATOR] = { "VHDX metadata lacks the parent locator", NULL },
	[VHDX_ITEM_LENGTH] = { "VHDX metadata item has the wrong length", "bytes:" },
	[VHDX_BAD_BLOCK_SIZE] = { "VHDX block size is no power of two from 1 MiB to 256 MiB",
				  "bytes:" },
	[VHDX_BAD_DISK_SIZE] = { "VHDX disk size is 0, above 64 TiB or not in logical sectors",
				 "bytes:" },
	[VHDX_BAD_LOGICAL_SECTOR] = { "VHDX logical sector size is neither 512 nor 4096",
				      "bytes:" },
	[VHDX_BAD_PHYSICAL_SECTOR] = { "VHDX physical sector size is neither 512 nor 4096",
				       "bytes:" },
	[VHDX_LOCATOR_TYPE] = { "VHDX has a parent of a kind that is not known", NULL },
	[VHDX_LOCATOR_UNSOUND] = { "VHDX parent locator is not sound", NULL },
	[VHDX_LOCATOR_NO_LINKAGE] = { "VHDX parent locator has no sound parent_linkage", NULL },

	[VHDX_TOO_MANY_BLOCKS] = { "VHDX disk has more blocks than the limit", "blocks:" },
	[VHDX_BAT_TOO_SHORT] = { "VHDX block allocation table is too short for the disk",
				 "entries needed:" },
	[VHDX_BAD_STATE] = { "VHDX block is in an unknown state", "state" },
	[VHDX_BAD_ENTRY] = { "VHDX block has reserved bits set", "entry" },
	[VHDX_PARTIAL_WITHOUT_PARENT] = { "VHDX block is present in part, but there is no parent",
					  "block" },
	[VHDX_NO_BITMAP] = { "VHDX block is present in part, but has no sector bitmap", "block" },
	[VHDX_BLOCK_OUTSIDE] = { "VHDX block is not inside the file", "place" },
	[VHDX_BLOCK_ON_REGION] = { "VHDX block overlaps a region or the log", "place" },
	[VHDX_BLOCKS_OVERLAP] = { "VHDX block overlaps another", "place" },
};

const struct vhdx_reason_words *vhdx_reason_words(enum vhdx_reason reason)
{
	assert((unsigned int)reason < VHDX_REASONS);
	return &words[reason];
}

int vhdx_refuse(struct vhdx_problem *ret_problem, enum vhdx_reason reason, uint64_t at_bytes,
		uint64_t value)
{
	*ret_problem = (struct vhdx_problem){ reason, at_bytes, value };
	return -EINVAL;
}
