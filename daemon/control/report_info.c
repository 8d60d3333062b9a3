/* SPDX-License-Identifier: MIT */
/* The JSON object of `sealblk info`: see report.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/uuid.h"
#include "control/report.h"
#include "vhd/vhdx_guid.h"

/* The last second that RFC 3339 can write: 9999-12-31T23:59:59Z. */
static const uint64_t TIME_S_MAX = 253402300799;

struct counts {
	uint64_t sectors[REPORT_STATES];
	uint64_t damaged_blocks;
	bool holes_known; /* of the base */
};

static int count_extent(void *arg, uint64_t first_sector, uint64_t nr_sectors,
			enum report_state state)
{
	struct counts *counts = arg;
	uint64_t last_sector = first_sector + nr_sectors - 1;

	counts->sectors[state] += nr_sectors;
	/* Damage always covers whole map blocks. */
	if (state == REPORT_DAMAGED)
		counts->damaged_blocks +=
			last_sector / SEAL_BLOCK_SECTORS - first_sector / SEAL_BLOCK_SECTORS + 1;
	return 0;
}

/*
 * What the map has counted, at no cost. False: it has not, or a block was found
 * damaged since: then only a walk tells how many sectors that costs.
 */
static bool take_counts(const struct report *report, struct counts *ret_counts)
{
	struct map *map = &report->image->disk.map;
	const struct map_counts taken = map_counts(map);
	struct counts counts = { .holes_known = true };

	if (!taken.known || !taken.base_known || atomic_load(&map->damaged))
		return false;
	for (unsigned int entry = 0; entry < MAP_VALUES; entry++)
		counts.sectors[report_state_of_entry(map, (uint8_t)entry)] += taken.sectors[entry];
	if (map->config.has_base) {
		counts.sectors[REPORT_BASE] = taken.base_data;
		counts.sectors[REPORT_ZERO] += taken.sectors[SEAL_ENTRY_BASE] - taken.base_data;
	}
	*ret_counts = counts;
	return true;
}

static int count(const struct report *report, struct counts *ret_counts)
{
	struct counts counts = { .holes_known = base_is_open(&report->image->base) };
	int r;

	if (take_counts(report, ret_counts))
		return 0;
	r = report_walk(report, count_extent, &counts);
	*ret_counts = counts;
	return r;
}

/* ---- values ---- */

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *le_number(le64 value)
{
	return number(le64_get(value));
}

json_t *report_text_json(const char *bytes)
{
	json_t *value = json_string(bytes);
	char *ascii;

	if (value)
		return value;
	ascii = strdup(bytes);
	if (!ascii)
		return NULL;
	for (char *at = ascii; *at; at++)
		if (*at & 0x80)
			*at = '?';
	value = json_string(ascii);
	free(ascii);
	return value;
}

static json_t *uuid_text(const uint8_t uuid[SEAL_UUID_BYTES])
{
	char name[UUID_TEXT_BYTES];

	uuid_to_text(uuid, name);
	return json_string(name);
}

json_t *report_time_json(uint64_t seconds)
{
	time_t time = (time_t)seconds;
	char name[32];
	struct tm tm;

	if (time == 0 || seconds > TIME_S_MAX || !gmtime_r(&time, &tm) ||
	    strftime(name, sizeof(name), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(name);
}

static json_t *time_text(le64 seconds)
{
	return report_time_json(le64_get(seconds));
}

/* ---- parts of the object; NULL: no memory ---- */

static const char *state_text(const struct report *report)
{
	if (report->live)
		return "in use";
	return report->image->super.open_state == SEAL_CLEAN ? "clean" : "unclean";
}

/*
 * DESIGN 8: every stored sector is sealed, and invariant 11: no plaintext that
 * was superseded is left. What a damaged block says nobody knows.
 */
static bool is_server_encrypted(const struct report *report, const struct counts *counts)
{
	bool swept = report->live ? map_is_swept(&report->image->disk.map)
				  : report->image->super.open_state == SEAL_CLEAN;

	return swept && counts->sectors[REPORT_PLAIN] == 0 && counts->sectors[REPORT_BASE] == 0 &&
	       counts->damaged_blocks == 0;
}

json_t *report_encryption_json(const struct report *report)
{
	struct image *image = report->image;
	int current = report->live ? atomic_load(&image->disk.map.current)
				   : image->super.current_plane;

	return json_pack("{s:b, s:o, s:i, s:b}", "enabled", image->super.encryption_enabled,
			 "last_enabled_time", time_text(image->super.last_enabled_s),
			 "current_plane", current, "revoked", image->super.revoked);
}

static json_t *sectors_json(const struct counts *counts)
{
	json_t *sectors = json_object();

	for (unsigned int i = 0; sectors && i < REPORT_STATES; i++) {
		const char *name = report_state_name((enum report_state)i);

		if (json_object_set_new(sectors, name, number(counts->sectors[i])) < 0) {
			json_decref(sectors);
			return NULL;
		}
	}
	return sectors;
}

/* As the image records it: base_identity.h. */
static const char *digest_kind_text(enum base_digest_kind kind)
{
	return kind == BASE_DIGEST_FULL ? "sha256-full" : "sha256-sampled";
}

/* As it is now: an owned base has its owner's. */
static json_t *vhd_uuid_text(const struct base_identity *base)
{
	uint8_t uuid[VHD_UUID_BYTES];

	if (base->format != BASE_VHD)
		return json_null();
	memcpy(uuid, base->vhd_uuid, sizeof(uuid));
	if (base->owned)
		base_identity_owner(base, uuid);
	return uuid_text(uuid);
}

static json_t *vhdx_id_text(const struct base_identity *base, const uint8_t guid[VHDX_GUID_BYTES])
{
	char text[UUID_TEXT_BYTES];

	if (base->format != BASE_VHDX)
		return json_null();
	vhdx_guid_text(guid, text);
	return json_string(text);
}

static json_t *base_json(const struct image *image, const char *base_problem,
			 const struct counts *counts)
{
	const struct base_identity *base = &image->base_identity;

	if (!image->super.has_base)
		return json_null();
	return json_pack("{s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:o, s:b}",
			 "path", report_text_json(base->path), "path_absolute",
			 report_text_json(base->path_absolute), "format",
			 base_format_name(base->format), "owned", base->owned, "file_bytes",
			 number(base->file_bytes), "disk_bytes", number(base->disk_bytes),
			 "vhd_uuid", vhd_uuid_text(base), "vhdx_disk_id",
			 vhdx_id_text(base, base->vhdx_disk_id), "vhdx_data_write_id",
			 vhdx_id_text(base, base->vhdx_data_write_id), "digest_kind",
			 digest_kind_text(base->digest_kind), "found", !base_problem, "problem",
			 base_problem ? report_text_json(base_problem) : json_null(), "holes_known",
			 counts->holes_known);
}

static json_t *plane_json(const struct image *image, unsigned int i)
{
	const struct seal_plane *plane = &image->super.planes[i];
	bool sealed = plane->kind == SEAL_PLANE_SEALED;

	return json_pack("{s:i, s:s, s:o, s:o}", "map_value", (int)i + SEAL_ENTRY_PLANE_FIRST,
			 "kind", sealed ? "sealed" : "plain", "key_id",
			 sealed ? le_number(plane->key_id) : json_null(), "file_offset_bytes",
			 le_number(plane->file_offset_bytes));
}

static json_t *key_slot_json(const struct image *image, unsigned int i)
{
	const struct seal_key_slot *slot = &image->keyring.slots[i];

	return json_pack("{s:i, s:o, s:s, s:o}", "slot", (int)i, "key_id", le_number(slot->key_id),
			 "kind", slot->kind == SEAL_KEK_SCRYPT ? "passphrase" : "key-file",
			 "created_time", time_text(slot->created_s));
}

/* Appends; frees @list and returns NULL when there is no memory. Accepts NULL. */
static json_t *append(json_t *list, json_t *item)
{
	if (list && json_array_append_new(list, item) == 0)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *planes_json(const struct image *image)
{
	json_t *planes = json_array();

	for (unsigned int i = 0; planes && i < PLANES_MAX; i++)
		if (image->super.planes[i].kind != SEAL_PLANE_NONE)
			planes = append(planes, plane_json(image, i));
	return planes;
}

static json_t *key_slots_json(const struct image *image)
{
	json_t *slots = json_array();

	for (unsigned int i = 0; slots && i < KEY_SLOTS_MAX; i++)
		if (image->keyring.slots[i].kind != 0)
			slots = append(slots, key_slot_json(image, i));
	return slots;
}

json_t *report_keys_json(const struct report *report)
{
	return json_pack("{s:o, s:i, s:b}", "key_slots", key_slots_json(report->image),
			 "key_slots_max", KEY_SLOTS_MAX, "revoked", report->image->super.revoked);
}

/* A NULL in it means no memory, and shows in the result. Returns 0 or -1. */
static int fill(json_t *info, const struct report *report, const char *base_problem,
		const struct counts *counts)
{
	const struct image *image = report->image;
	const struct seal_superblock *super = &image->super;
	int version = (int)le32_get(super->version);
	int bad = 0;

	bad |= json_object_set_new(info, "path", report_text_json(image->path));
	bad |= json_object_set_new(info, "uuid", uuid_text(super->uuid));
	bad |= json_object_set_new(info, "format_version", json_integer(version));
	bad |= json_object_set_new(info, "created_time", time_text(super->created_s));
	bad |= json_object_set_new(info, "disk_bytes", le_number(super->disk_bytes));
	bad |= json_object_set_new(info, "state", json_string(state_text(report)));
	bad |= json_object_set_new(info, "revoked", json_boolean(super->revoked));
	bad |= json_object_set_new(info, "server_encrypted",
				   json_boolean(is_server_encrypted(report, counts)));
	bad |= json_object_set_new(info, "encryption", report_encryption_json(report));
	bad |= json_object_set_new(info, "rewrite", report_rewrite_json(image));
	bad |= json_object_set_new(info, "sectors", sectors_json(counts));
	bad |= json_object_set_new(info, "base", base_json(image, base_problem, counts));
	bad |= json_object_set_new(info, "planes", planes_json(image));
	bad |= json_object_set_new(info, "key_slots", key_slots_json(image));
	bad |= json_object_set_new(info, "damaged_blocks", number(counts->damaged_blocks));
	bad |= json_object_set_new(info, "damaged_copies", number(image->nr_bad_copies));
	bad |= json_object_set_new(info, "writes_failed",
				   json_boolean(atomic_load(&image->disk.map.failed)));
	return bad;
}

static int fill_file(json_t *info, const struct image *image)
{
	struct stat st;
	int bad = 0;

	if (fstat(image->store.fd, &st) < 0)
		return -errno;
	bad |= json_object_set_new(info, "file_bytes", number((uint64_t)st.st_size));
	bad |= json_object_set_new(info, "allocated_bytes", number((uint64_t)st.st_blocks * 512));
	return bad ? -ENOMEM : 0;
}

int report_info_json(const struct report *report, const char *base_problem, json_t **ret_info)
{
	struct counts counts;
	json_t *info;
	int r = count(report, &counts);

	if (r < 0)
		return r;
	info = json_object();
	report_lock(report);
	r = fill(info, report, base_problem, &counts) ? -ENOMEM : fill_file(info, report->image);
	report_unlock(report);
	if (r < 0) {
		json_decref(info);
		return r;
	}
	*ret_info = info;
	return 0;
}
