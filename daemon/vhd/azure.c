/* SPDX-License-Identifier: MIT */
/* Azure's acceptance rules: see azure.h. */
#include "vhd/azure.h"

#include <assert.h>

#include "vhd/footer.h"

static const char *const rule_texts[VHD_AZURE_RULES] = {
	[VHD_AZURE_FIXED] = "fixed VHD",
	[VHD_AZURE_FOOTER] = "footer with cookie and checksum",
	[VHD_AZURE_SIZE] = "disk of 20 MiB to 32 TiB",
	[VHD_AZURE_WHOLE_MIB] = "disk of whole MiB",
	[VHD_AZURE_LENGTH] = "file is the disk and 512 bytes",
};

const char *vhd_azure_rule_text(enum vhd_azure_rule rule)
{
	assert((unsigned int)rule < VHD_AZURE_RULES);
	return rule_texts[rule];
}

void vhd_azure_judge(const struct vhd_footer *footer, uint64_t file_bytes,
		     bool ret_kept[VHD_AZURE_RULES])
{
	bool has_cookie = vhd_footer_has_cookie(footer, sizeof(*footer));
	uint64_t disk_bytes = be64_get(footer->current_bytes);

	ret_kept[VHD_AZURE_FIXED] = has_cookie && be32_get(footer->disk_type) == VHD_FIXED;
	ret_kept[VHD_AZURE_FOOTER] = has_cookie &&
				     be32_get(footer->checksum) == vhd_footer_checksum(footer);
	ret_kept[VHD_AZURE_SIZE] = has_cookie && disk_bytes >= VHD_AZURE_BYTES_MIN &&
				   disk_bytes <= VHD_AZURE_BYTES_MAX;
	ret_kept[VHD_AZURE_WHOLE_MIB] = has_cookie && disk_bytes > 0 && disk_bytes % MIB == 0;
	/* Compared without adding: the size is anybody's number. */
	ret_kept[VHD_AZURE_LENGTH] = has_cookie && file_bytes >= VHD_FOOTER_BYTES &&
				     disk_bytes == file_bytes - VHD_FOOTER_BYTES;
}
