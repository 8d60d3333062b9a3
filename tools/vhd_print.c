/* SPDX-License-Identifier: MIT */
/* sealblk vhd info: the fields of a footer in words. Numbers of a damaged one are shown as they stand. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/uuid.h"
#include "control/size_text.h"
#include "image/vhd_problem.h"
#include "print.h"
#include "sealblk/units.h"
#include "vhd.h"
#include "vhd/geometry.h"

enum { TIME_TEXT_BYTES = 32, CREATOR_TEXT_BYTES = VHD_CREATOR_BYTES + 1, LINE_BYTES = 256 };

static const struct {
	char code[VHD_CREATOR_BYTES + 1];
	const char *name;
} creators[] = {
	{ VHD_CREATOR_VIRTUAL_PC, "Virtual PC" },
	{ "vs  ", "Virtual Server" },
	{ VHD_CREATOR_WINDOWS, "Windows" },
	{ VHD_CREATOR_AZURE, "Azure" },
	{ VHD_CREATOR_QEMU, "QEMU" },
	{ VHD_CREATOR_QEMU_EXACT, "QEMU, exact size" },
	{ "vbox", "VirtualBox" },
	{ "d2v ", "Disk2vhd" },
	{ "CTXS", "Citrix" },
	{ "tap\0", "blktap" },
};

static const char *const copy_texts[VHD_COPIES] = {
	[VHD_COPY_NONE] = "none",
	[VHD_COPY_SAME] = "the same",
	[VHD_COPY_DIFFERS] = "differs from the footer",
	[VHD_COPY_MISSING] = "missing",
	[VHD_COPY_ALONE] = "good, and shown here; the footer at the end is not",
};

/* ---- words ---- */

static const char *creator_name(const uint8_t code[VHD_CREATOR_BYTES])
{
	for (size_t i = 0; i < ARRAY_LEN(creators); i++)
		if (memcmp(code, creators[i].code, VHD_CREATOR_BYTES) == 0)
			return creators[i].name;
	return "unknown";
}

/* Printable ASCII, without the padding. */
static const char *code_text(const uint8_t code[VHD_CREATOR_BYTES], char text[CREATOR_TEXT_BYTES])
{
	size_t nr = VHD_CREATOR_BYTES;

	while (nr > 0 && (code[nr - 1] == ' ' || code[nr - 1] == 0))
		nr--;
	for (size_t i = 0; i < nr; i++)
		text[i] = (char)(code[i] >= 0x20 && code[i] < 0x7f ? code[i] : '?');
	text[nr] = '\0';
	return text;
}

static const char *os_name(const uint8_t code[VHD_CREATOR_BYTES])
{
	if (memcmp(code, VHD_OS_WINDOWS, VHD_CREATOR_BYTES) == 0)
		return "Windows";
	return memcmp(code, "Mac ", VHD_CREATOR_BYTES) == 0 ? "Macintosh" : "unknown";
}

static const char *type_name(uint32_t disk_type)
{
	switch (disk_type) {
	case VHD_FIXED:
		return "fixed";
	case VHD_DYNAMIC:
		return "dynamic";
	case VHD_DIFFERENCING:
		return "differencing";
	default:
		return "unknown";
	}
}

static const char *time_text(uint32_t created_s, char text[TIME_TEXT_BYTES])
{
	time_t time = (time_t)VHD_EPOCH_S + created_s;
	struct tm tm;

	if (!gmtime_r(&time, &tm) ||
	    strftime(text, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		text[0] = '\0';
	return text;
}

static uint64_t geometry_bytes(const struct vhd_footer *footer)
{
	return sectors_to_bytes(vhd_geometry_sectors(footer->geometry));
}

/* Which of the two sizes counts, and why. */
static const char *size_rule(const struct vhd_findings *found)
{
	const uint8_t *creator = found->info.creator_app;

	if (found->info.sized_by_geometry)
		return "geometry: this creator goes by it";
	if (memcmp(creator, VHD_CREATOR_VIRTUAL_PC, VHD_CREATOR_BYTES) == 0 ||
	    memcmp(creator, VHD_CREATOR_QEMU, VHD_CREATOR_BYTES) == 0)
		return "current size: this creator goes by the geometry, which can say no more";
	return "current size: only the creators vpc and qemu go by the geometry";
}

/*
 * QEMU before 10.0 believed the current size of a few creators only, and cut the
 * disks of all others to their geometry.
 */
static bool is_cut_by_old_qemu(const struct vhd_findings *found)
{
	static const char believed[][VHD_CREATOR_BYTES + 1] = { VHD_CREATOR_WINDOWS,
								VHD_CREATOR_QEMU_EXACT, "d2v ",
								"CTXS", "tap\0" };

	for (size_t i = 0; i < ARRAY_LEN(believed); i++)
		if (memcmp(found->footer.creator_app, believed[i], VHD_CREATOR_BYTES) == 0)
			return false;
	return !vhd_geometry_is_max(found->footer.geometry) &&
	       geometry_bytes(&found->footer) < found->info.disk_bytes;
}

/* What is wrong, with its numbers; "" if nothing is. */
static void fault_text(const struct vhd_findings *found, char text[LINE_BYTES])
{
	if (found->why.reason != VHD_FINE)
		vhd_problem_text(&found->why, text);
	else if (found->copy == VHD_COPY_DIFFERS || found->copy == VHD_COPY_MISSING)
		snprintf(text, LINE_BYTES, "the footer's copy at the start %s",
			 found->copy == VHD_COPY_MISSING ? "is missing" : "differs from it");
	else
		text[0] = '\0';
}

/* ---- text ---- */

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

static void print_size(const char *label, uint64_t bytes)
{
	char size[SIZE_TEXT_BYTES];

	print_row(label, "%s (%" PRIu64 " bytes)", size_text(bytes, size), bytes);
}

static void print_disk(const struct vhd_findings *found)
{
	const struct vhd_footer *footer = &found->footer;

	if (found->readable) {
		print_size("disk", found->info.disk_bytes);
		print_row("", "by its %s", size_rule(found));
		if (is_cut_by_old_qemu(found))
			print_row("", "QEMU before 10.0 cuts it to %" PRIu64 " bytes",
				  geometry_bytes(footer));
	} else {
		print_row("disk", "unknown, since the footer is not sound");
	}
	print_size("current size", be64_get(footer->current_bytes));
	print_size("original size", be64_get(footer->original_bytes));
	print_row("geometry", "%u cylinders, %u heads, %u sectors: %" PRIu64 " bytes",
		  be16_get(footer->geometry.cylinders), footer->geometry.heads,
		  footer->geometry.sectors, geometry_bytes(footer));
	if (vhd_geometry_is_max(footer->geometry))
		print_row("", "the largest there is: says nothing about the size");
}

static void print_origin(const struct vhd_footer *footer)
{
	uint32_t version = be32_get(footer->creator_version);
	char code[CREATOR_TEXT_BYTES], time[TIME_TEXT_BYTES], uuid[UUID_TEXT_BYTES];

	print_row("creator", "\"%s\" (%s), version %u.%u", code_text(footer->creator_app, code),
		  creator_name(footer->creator_app), version >> 16, version & 0xffff);
	print_row("creator's system", "\"%s\" (%s)", code_text(footer->creator_os, code),
		  os_name(footer->creator_os));
	print_row("created", "%s", time_text(be32_get(footer->created_s), time));
	uuid_to_text(footer->uuid, uuid);
	print_row("unique id", "%s", uuid);
}

static void print_rest(const struct vhd_footer *footer)
{
	uint32_t features = be32_get(footer->features), version = be32_get(footer->version);
	uint64_t data_offset = be64_get(footer->data_offset);

	print_row("features", "0x%08" PRIx32 "%s", features, features & 1 ? " (temporary)" : "");
	print_row("format version", "%u.%u", version >> 16, version & 0xffff);
	if (data_offset == VHD_DATA_OFFSET_FIXED)
		print_row("data offset", "none");
	else
		print_row("data offset", "%" PRIu64, data_offset);
	print_row("saved state", "%s", footer->saved_state ? "yes" : "no");
	print_row("checksum", "%08" PRIx32 ", %s", be32_get(footer->checksum),
		  be32_get(footer->checksum) == vhd_footer_checksum(footer) ? "right" : "wrong");
}

static void print_dynamic(const struct vhd_findings *found)
{
	const struct vhd_dynamic *dynamic = &found->dynamic;

	print_row("dynamic header", "at %" PRIu64 ", block allocation table at %" PRIu64,
		  dynamic->header_offset_bytes, dynamic->bat_offset_bytes);
	print_size("block size", sectors_to_bytes(dynamic->block_sectors));
	if (found->has_bat)
		print_row("blocks", "%" PRIu32 " of %" PRIu32 " in the file", found->nr_stored,
			  dynamic->nr_blocks);
}

static void print_parent(const struct vhd_findings *found)
{
	char uuid[UUID_TEXT_BYTES], time[TIME_TEXT_BYTES];

	uuid_to_text(found->dynamic.parent_uuid, uuid);
	print_row("parent", "unique id %s, timestamp %s", uuid,
		  time_text(found->dynamic.parent_modified_s, time));
	if (found->parent_relative[0])
		print_row("", "relative path %s", found->parent_relative);
	if (found->parent_absolute[0])
		print_row("", "absolute path %s", found->parent_absolute);
	if (!found->parent_relative[0] && !found->parent_absolute[0])
		print_row("", "no path that can be followed here");
}

static void print_azure(const struct vhd_findings *found)
{
	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++)
		print_row(i == 0 ? "Azure wants" : "", "%-32s %s",
			  vhd_azure_rule_text((enum vhd_azure_rule)i),
			  found->azure[i] ? "yes" : "no");
}

void vhd_print_text(const struct vhd_findings *found)
{
	char fault[LINE_BYTES];

	printf("%-17s", "file");
	print_text(stdout, found->path);
	putchar('\n');
	print_size("file size", found->file_bytes);
	print_row("type", "%s", type_name(be32_get(found->footer.disk_type)));
	print_disk(found);
	print_origin(&found->footer);
	print_rest(&found->footer);
	if (found->copy != VHD_COPY_NONE)
		print_row("copy at start", "%s", copy_texts[found->copy]);
	if (found->has_header)
		print_dynamic(found);
	if (found->has_header && found->info.disk_type == VHD_DIFFERENCING)
		print_parent(found);
	print_azure(found);
	fault_text(found, fault);
	print_row("verdict", "%s", fault[0] ? fault : "sound");
}

/* ---- JSON ---- */

static json_t *azure_json(const struct vhd_findings *found)
{
	static const char *const names[VHD_AZURE_RULES] = {
		[VHD_AZURE_FIXED] = "fixed",   [VHD_AZURE_FOOTER] = "footer",
		[VHD_AZURE_SIZE] = "size",     [VHD_AZURE_WHOLE_MIB] = "whole_mib",
		[VHD_AZURE_LENGTH] = "length",
	};
	json_t *azure = json_object();
	bool accepted = true;

	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++) {
		accepted &= found->azure[i];
		(void)json_object_set_new(azure, names[i], json_boolean(found->azure[i]));
	}
	(void)json_object_set_new(azure, "accepted", json_boolean(accepted));
	return azure;
}

static json_t *number_json(uint64_t number)
{
	return json_integer((json_int_t)number);
}

static json_t *footer_json(const struct vhd_footer *footer)
{
	char app[CREATOR_TEXT_BYTES], os[CREATOR_TEXT_BYTES], time[TIME_TEXT_BYTES];
	char uuid[UUID_TEXT_BYTES];
	uint64_t data_offset = be64_get(footer->data_offset);
	bool right = be32_get(footer->checksum) == vhd_footer_checksum(footer);

	uuid_to_text(footer->uuid, uuid);
	return json_pack(
		"{s:s, s:o, s:o, s:{s:i, s:i, s:i, s:o}, s:s, s:s, s:o, s:s, s:s, s:s, s:o, s:o, "
		"s:o, s:b, s:o, s:b}",
		"type", type_name(be32_get(footer->disk_type)), "current_bytes",
		number_json(be64_get(footer->current_bytes)), "original_bytes",
		number_json(be64_get(footer->original_bytes)), "geometry", "cylinders",
		(int)be16_get(footer->geometry.cylinders), "heads", (int)footer->geometry.heads,
		"sectors", (int)footer->geometry.sectors, "bytes",
		number_json(geometry_bytes(footer)), "creator", code_text(footer->creator_app, app),
		"creator_name", creator_name(footer->creator_app), "creator_version",
		number_json(be32_get(footer->creator_version)), "creator_os",
		code_text(footer->creator_os, os), "created_time",
		time_text(be32_get(footer->created_s), time), "uuid", uuid, "features",
		number_json(be32_get(footer->features)), "version",
		number_json(be32_get(footer->version)), "data_offset",
		data_offset == VHD_DATA_OFFSET_FIXED ? json_null() : number_json(data_offset),
		"saved_state", footer->saved_state != 0, "checksum",
		number_json(be32_get(footer->checksum)), "checksum_right", right);
}

static json_t *path_json(const char *path)
{
	return path[0] ? print_text_json(path) : json_null();
}

static json_t *dynamic_json(const struct vhd_findings *found)
{
	const struct vhd_dynamic *dynamic = &found->dynamic;

	if (!found->has_header)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "header_offset",
			 number_json(dynamic->header_offset_bytes), "bat_offset",
			 number_json(dynamic->bat_offset_bytes), "block_bytes",
			 number_json(sectors_to_bytes(dynamic->block_sectors)), "blocks",
			 number_json(dynamic->nr_blocks), "blocks_stored",
			 found->has_bat ? number_json(found->nr_stored) : json_null());
}

static json_t *parent_json(const struct vhd_findings *found)
{
	char uuid[UUID_TEXT_BYTES], time[TIME_TEXT_BYTES];

	if (!found->has_header || found->info.disk_type != VHD_DIFFERENCING)
		return json_null();
	uuid_to_text(found->dynamic.parent_uuid, uuid);
	return json_pack("{s:s, s:s, s:o, s:o}", "uuid", uuid, "timestamp",
			 time_text(found->dynamic.parent_modified_s, time), "relative_path",
			 path_json(found->parent_relative), "absolute_path",
			 path_json(found->parent_absolute));
}

int vhd_print_json(const struct vhd_findings *found)
{
	char fault[LINE_BYTES];
	json_t *object;

	fault_text(found, fault);
	object = json_pack("{s:o, s:o, s:b, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o}", "path",
			   print_text_json(found->path), "file_bytes",
			   number_json(found->file_bytes), "sound", vhd_is_sound(found),
			   "disk_bytes",
			   found->readable ? number_json(found->info.disk_bytes) : json_null(),
			   "footer", footer_json(&found->footer), "size_rule",
			   found->readable ? size_rule(found) : "", "azure", azure_json(found),
			   "copy", copy_texts[found->copy], "dynamic", dynamic_json(found),
			   "parent", parent_json(found), "problem",
			   fault[0] ? json_string(fault) : json_null());
	int r = object ? print_json_object(object) : -ENOMEM;

	json_decref(object);
	return r;
}
