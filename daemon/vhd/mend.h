/* SPDX-License-Identifier: MIT */
/*
 * What footer a VHD without a sound one is to get: from its copy, or from the file's
 * length. Makes up nothing: a file of which too much is gone gets none. Pure.
 */
#ifndef VHD_MEND_H
#define VHD_MEND_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/vhd_format.h"
#include "vhd/footer.h"

/* What is known of the file. */
struct vhd_patient {
	uint8_t head[VHD_FOOTER_BYTES]; /* its first and last bytes; it has as many at least */
	uint8_t tail[VHD_FOOTER_BYTES];
	uint64_t file_bytes;
	/*
	 * Of a dynamic or differencing one: where its headers, BAT and blocks end, all of
	 * them sound and inside the file; 0: they are not, or it is a fixed one.
	 */
	uint64_t blocks_end_bytes;
	bool is_called_vhd; /* a raw file that is not, needs no footer */
	/* Timestamp and unique id where nothing is left of the file's own. */
	const struct vhd_fixed *fresh;
};

struct vhd_mend {
	struct vhd_footer footer;
	uint64_t at_bytes; /* where it goes; the file may grow by that */
	bool in_copy;	   /* the sound one is at the end: @at_bytes is 0 */
	const char *what;  /* what was wrong, a short English sentence part */
};

/*
 * What the file's footer says, or, where that is not sound, its copy (*ret_copy).
 * Returns false when neither is sound.
 */
bool vhd_mend_source(const struct vhd_patient *patient, struct vhd_info *ret_info, bool *ret_copy);

/* No VHD at all: a VHDX, or what shows no sign of any format, and is not called *.vhd? */
bool vhd_mend_is_foreign(const struct vhd_patient *patient);

/* Returns false when there is nothing to write: all is well, or beyond this. */
bool vhd_mend_plan(const struct vhd_patient *patient, struct vhd_mend *ret_mend);

#endif
