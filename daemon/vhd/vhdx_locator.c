/* SPDX-License-Identifier: MIT */
/* The parent locator of a VHDX: see vhdx_locator.h. */
#include "vhd/vhdx_locator.h"

#include <string.h>

#include "base/cursor.h"
#include "vhd/locator.h"
#include "vhd/vhdx_guid.h"

enum { LINKAGE_CHARACTERS_MAX = UUID_TEXT_BYTES + 1 };

/* A part of the locator: UTF-16, little-endian. */
struct text {
	const uint8_t *bytes;
	size_t nr_bytes;
};

/* Returns false: it is not inside the locator, or not whole characters. */
static bool text_at(const uint8_t *bytes, size_t nr_bytes, uint32_t offset, uint16_t length,
		    struct text *ret_text)
{
	if (length == 0 || length % 2 != 0 || offset == 0 || offset > nr_bytes ||
	    length > nr_bytes - offset)
		return false;
	*ret_text = (struct text){ bytes + offset, length };
	return true;
}

static bool text_is(struct text text, const char *ascii)
{
	struct cursor c = cursor_of(text.bytes, text.nr_bytes);

	if (text.nr_bytes != 2 * strlen(ascii))
		return false;
	while (*ascii)
		if (cursor_le16(&c) != (uint8_t)*ascii++)
			return false;
	return true;
}

static int read_linkage(struct text value, uint8_t ret_guid[VHDX_GUID_BYTES])
{
	struct cursor c = cursor_of(value.bytes, value.nr_bytes);
	char ascii[LINKAGE_CHARACTERS_MAX] = { 0 };
	size_t nr = 0;

	while (c.left_bytes > 0 && nr < sizeof(ascii)) {
		uint16_t unit = cursor_le16(&c);

		ascii[nr++] = (char)(unit < 0x80 ? unit : 0);
	}
	/* What is longer is no GUID: the rest is not looked at, but the length tells. */
	return vhdx_guid_read(ascii, value.nr_bytes / 2, ret_guid);
}

/* A path that cannot be read is none: another one may do. */
static void read_path(struct text value, char path[PATH_BYTES_MAX])
{
	if (value.nr_bytes > VHD_LOCATOR_BYTES_MAX ||
	    vhd_locator_path(value.bytes, value.nr_bytes, path) < 0)
		path[0] = 0;
}

/* Returns false: a linkage that is no GUID. Keys that are not known say nothing. */
static bool take_pair(struct text key, struct text value, struct vhdx_parent *parent,
		      bool *has_linkage)
{
	if (text_is(key, "relative_path")) {
		read_path(value, parent->relative_path);
	} else if (text_is(key, "absolute_win32_path")) {
		read_path(value, parent->absolute_path);
	} else if (text_is(key, "parent_linkage")) {
		*has_linkage = true;
		return read_linkage(value, parent->linkage) == 0;
	} else if (text_is(key, "parent_linkage2")) {
		parent->has_linkage2 = read_linkage(value, parent->linkage2) == 0;
	}
	return true;
}

static struct vhdx_locator_entry entry_of(const uint8_t *bytes, size_t number)
{
	struct vhdx_locator_entry entry;

	memcpy(&entry, bytes + sizeof(struct vhdx_locator) + number * sizeof(entry), sizeof(entry));
	return entry;
}

int vhdx_locator_decode(const uint8_t *bytes, size_t nr_bytes, uint64_t at_bytes,
			struct vhdx_parent *parent, struct vhdx_problem *ret_problem)
{
	static const uint8_t vhdx_type[] = VHDX_LOCATOR_TYPE_VHDX;
	struct vhdx_locator locator;
	bool has_linkage = false;
	size_t nr_entries;

	memset(parent, 0, sizeof(*parent));
	if (nr_bytes < sizeof(locator))
		return vhdx_refuse(ret_problem, VHDX_LOCATOR_UNSOUND, at_bytes, 0);
	memcpy(&locator, bytes, sizeof(locator));
	nr_entries = le16_get(locator.nr_entries);
	if (!vhdx_guid_is(locator.type, vhdx_type))
		return vhdx_refuse(ret_problem, VHDX_LOCATOR_TYPE, at_bytes, 0);
	if (nr_entries > (nr_bytes - sizeof(locator)) / sizeof(struct vhdx_locator_entry))
		return vhdx_refuse(ret_problem, VHDX_LOCATOR_UNSOUND, at_bytes, 0);
	for (size_t i = 0; i < nr_entries; i++) {
		const struct vhdx_locator_entry entry = entry_of(bytes, i);
		struct text key, value;

		if (!text_at(bytes, nr_bytes, le32_get(entry.key_offset), le16_get(entry.key_bytes),
			     &key) ||
		    !text_at(bytes, nr_bytes, le32_get(entry.value_offset),
			     le16_get(entry.value_bytes), &value))
			return vhdx_refuse(ret_problem, VHDX_LOCATOR_UNSOUND,
					   at_bytes + sizeof(locator) + i * sizeof(entry), 0);
		if (!take_pair(key, value, parent, &has_linkage))
			return vhdx_refuse(ret_problem, VHDX_LOCATOR_NO_LINKAGE,
					   at_bytes + sizeof(locator) + i * sizeof(entry), 0);
	}
	return has_linkage ? 0 : vhdx_refuse(ret_problem, VHDX_LOCATOR_NO_LINKAGE, at_bytes, 0);
}
