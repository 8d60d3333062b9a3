/* SPDX-License-Identifier: MIT */
/* sealblk vhd info of a VHDX: its parts in words. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "control/size_text.h"
#include "print.h"
#include "vhd/vhdx_guid.h"
#include "vhdx.h"

static const char *type_name(const struct vhdx_metadata *metadata)
{
	if (metadata->has_parent)
		return "differencing";
	return metadata->is_fixed ? "fixed" : "dynamic";
}

/* ---- text ---- */

enum { LINE_BYTES = 256 };

PRINTF_LIKE(2, 3) static void print_row(const char *label, const char *fmt, ...)
{
	char text[LINE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("%-17s", label);
	print_text(stdout, text);
	putchar('\n');
}

/* Of any length. */
static void print_string(const char *label, const char *text)
{
	printf("%-17s", label);
	print_text(stdout, text);
	putchar('\n');
}

static void print_size(const char *label, uint64_t bytes)
{
	char size[SIZE_TEXT_BYTES];

	print_row(label, "%s (%" PRIu64 " bytes)", size_text(bytes, size), bytes);
}

static void print_id(const char *label, const uint8_t guid[VHDX_GUID_BYTES])
{
	char text[UUID_TEXT_BYTES];

	vhdx_guid_text(guid, text);
	print_row(label, "%s", text);
}

static void print_log(const struct vhdx *vhdx)
{
	if (!vhdx->info.needs_replay)
		print_row("log", "nothing to replay");
	else
		print_row("log", "replayed in memory: %zu entries, %zu changes, at %" PRIu64,
			  vhdx->overlay.nr_entries, vhdx->overlay.nr_updates,
			  vhdx->info.log.offset_bytes);
}

static void print_blocks(const struct vhdx_findings *found)
{
	const struct vhdx *vhdx = found->vhdx;

	print_size("block size", vhdx->metadata.block_bytes);
	print_row("blocks", "%" PRIu32 " of %" PRIu32 " in the file", found->nr_stored,
		  vhdx->layout.nr_blocks);
	if (vhdx->metadata.has_parent)
		print_row("", "%" PRIu32 " in part", found->nr_partial);
	print_row("", "%" PRIu32 " known to be zeros", found->nr_zero);
}

static void print_parent(const struct vhdx_parent *parent)
{
	print_id("parent", parent->linkage);
	if (parent->relative_path[0])
		print_string("  relative path", parent->relative_path);
	if (parent->absolute_path[0])
		print_string("  absolute path", parent->absolute_path);
}

void vhdx_print_text(const struct vhdx_findings *found)
{
	const struct vhdx *vhdx = found->vhdx;
	const struct vhdx_metadata *metadata = &vhdx->metadata;

	print_string("file", found->path);
	print_size("file size", found->file_bytes);
	print_row("type", "%s VHDX", type_name(metadata));
	print_size("disk", metadata->disk_bytes);
	print_row("sectors", "logical %" PRIu32 ", physical %" PRIu32 " bytes",
		  metadata->logical_bytes, metadata->physical_bytes);
	print_string("creator", found->creator[0] ? found->creator : "unknown");
	print_id("disk id", metadata->disk_id);
	print_id("data write id", vhdx->info.data_write_id);
	print_id("file write id", vhdx->info.file_write_id);
	print_row("headers", "%u of 2 sound, current one at %" PRIu64 ", sequence %" PRIu64,
		  vhdx->info.nr_sound, vhdx->info.at_bytes, vhdx->info.sequence);
	print_log(vhdx);
	print_row("table of blocks", "at %" PRIu64 ", metadata at %" PRIu64,
		  vhdx->regions.bat.offset_bytes, vhdx->regions.metadata.offset_bytes);
	print_blocks(found);
	if (metadata->has_parent)
		print_parent(&vhdx->parent);
	print_row("Azure", "takes no VHDX, only fixed VHDs");
	print_row("verdict", "sound");
}

/* ---- JSON ---- */

static json_t *number_json(uint64_t number)
{
	return json_integer((json_int_t)number);
}

static json_t *id_json(const uint8_t guid[VHDX_GUID_BYTES])
{
	char text[UUID_TEXT_BYTES];

	vhdx_guid_text(guid, text);
	return json_string(text);
}

static json_t *text_json(const char *text)
{
	return text[0] ? print_text_json(text) : json_null();
}

static json_t *log_json(const struct vhdx *vhdx)
{
	return json_pack("{s:b, s:o, s:o, s:o, s:o}", "replayed", vhdx->info.needs_replay, "offset",
			 number_json(vhdx->info.log.offset_bytes), "bytes",
			 number_json(vhdx->info.log.nr_bytes), "entries",
			 number_json(vhdx->overlay.nr_entries), "changes",
			 number_json(vhdx->overlay.nr_updates));
}

static json_t *parent_json(const struct vhdx *vhdx)
{
	const struct vhdx_parent *parent = &vhdx->parent;

	if (!vhdx->metadata.has_parent)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "data_write_id", id_json(parent->linkage),
			 "relative_path", text_json(parent->relative_path), "absolute_path",
			 text_json(parent->absolute_path));
}

static json_t *blocks_json(const struct vhdx_findings *found)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "bytes",
			 number_json(found->vhdx->metadata.block_bytes), "number",
			 number_json(found->vhdx->layout.nr_blocks), "stored",
			 number_json(found->nr_stored), "stored_in_part",
			 number_json(found->nr_partial), "zero", number_json(found->nr_zero));
}

int vhdx_print_json(const struct vhdx_findings *found)
{
	const struct vhdx *vhdx = found->vhdx;
	const struct vhdx_metadata *metadata = &vhdx->metadata;
	json_t *object = json_pack(
		"{s:o, s:s, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"path", print_text_json(found->path), "format", "vhdx", "file_bytes",
		number_json(found->file_bytes), "sound", 1, "type", type_name(metadata),
		"disk_bytes", number_json(metadata->disk_bytes), "logical_sector_bytes",
		number_json(metadata->logical_bytes), "physical_sector_bytes",
		number_json(metadata->physical_bytes), "creator", text_json(found->creator),
		"disk_id", id_json(metadata->disk_id), "data_write_id",
		id_json(vhdx->info.data_write_id), "file_write_id",
		id_json(vhdx->info.file_write_id), "sequence", number_json(vhdx->info.sequence),
		"log", log_json(vhdx), "blocks", blocks_json(found), "parent", parent_json(vhdx));
	int r = object ? print_json_object(object) : -ENOMEM;

	json_decref(object);
	return r;
}
