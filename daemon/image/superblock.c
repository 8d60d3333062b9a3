/* SPDX-License-Identifier: MIT */
/* Codec of the superblock: see superblock.h. */
#include "image/superblock.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

static uint32_t crc_of(const struct seal_superblock *super)
{
	static const uint8_t zeros[sizeof(super->crc)];
	uint32_t crc = crc32c(0, super, offsetof(struct seal_superblock, crc));

	return crc32c(crc, zeros, sizeof(zeros));
}

static int compute_mac(const struct seal_superblock *super, struct mac_ctx *mac,
		       uint8_t ret_mac[MAC_BYTES])
{
	struct seal_superblock copy = *super;

	memset(copy.mac, 0, sizeof(copy.mac));
	copy.crc = le32_of(0);
	return mac_compute(mac, &copy, sizeof(copy), ret_mac);
}

int superblock_check_mac(const struct seal_superblock *super, struct mac_ctx *mac)
{
	uint8_t tag[MAC_BYTES];
	int r = compute_mac(super, mac, tag);

	if (r < 0)
		return r;
	return mac_equal(tag, super->mac) ? 0 : -EBADMSG;
}

int superblock_finish(struct seal_superblock *super, struct mac_ctx *mac)
{
	uint8_t tag[MAC_BYTES];
	int r = compute_mac(super, mac, tag);

	if (r < 0)
		return r;
	memcpy(super->mac, tag, sizeof(super->mac));
	super->crc = le32_of(crc_of(super));
	return 0;
}

struct layout {
	uint64_t bitmap_blocks;
	uint64_t map_offset;
	uint64_t map_blocks;
	uint64_t planes_offset;
	uint64_t plane_bytes;
};

static struct layout layout_of(uint64_t disk_bytes)
{
	uint64_t sectors = disk_bytes / SECTOR_BYTES;
	struct layout l;

	l.map_blocks = (sectors + SEAL_BLOCK_SECTORS - 1) / SEAL_BLOCK_SECTORS;
	l.bitmap_blocks = (l.map_blocks + SEAL_BITMAP_BITS - 1) / SEAL_BITMAP_BITS;
	l.map_offset = round_up(SEAL_BITMAP_START + l.bitmap_blocks * SEAL_PAIR_BYTES, SEAL_ALIGN);
	l.planes_offset = round_up(l.map_offset + l.map_blocks * SEAL_PAIR_BYTES, SEAL_ALIGN);
	l.plane_bytes = round_up(disk_bytes, SEAL_ALIGN);
	return l;
}

uint64_t superblock_plane_offset(const struct seal_superblock *super, unsigned int nth)
{
	struct layout l = layout_of(le64_get(super->disk_bytes));

	return l.planes_offset + nth * l.plane_bytes;
}

void superblock_layout(struct seal_superblock *super, uint64_t disk_bytes)
{
	struct layout l = layout_of(disk_bytes);

	*super = (struct seal_superblock){
		.magic = SEAL_MAGIC_SUPERBLOCK,
		.version = le32_of(SEAL_VERSION),
		.header_bytes = le32_of(SEAL_SUPERBLOCK_BYTES),
		.disk_bytes = le64_of(disk_bytes),
		.entry_bits = le32_of(SEAL_ENTRY_BITS),
		.block_bytes = le32_of(SEAL_BLOCK_BYTES),
		.block_sectors = le32_of(SEAL_BLOCK_SECTORS),
		.keyring_bytes = le32_of(SEAL_KEYRING_BYTES),
		.keyring_offset = { le64_of(SEAL_KEYRING_A), le64_of(SEAL_KEYRING_B) },
		.names_offset = { le64_of(SEAL_NAMES_A), le64_of(SEAL_NAMES_B) },
		.names_bytes = le32_of(SEAL_NAMES_BYTES),
		.bitmap_offset = le64_of(SEAL_BITMAP_START),
		.bitmap_blocks = le64_of(l.bitmap_blocks),
		.map_offset = le64_of(l.map_offset),
		.map_blocks = le64_of(l.map_blocks),
		.current_plane = SEAL_ENTRY_PLANE_FIRST,
		.open_state = SEAL_CLEAN,
	};
	super->planes[0] = (struct seal_plane){
		.kind = SEAL_PLANE_SEALED,
		.sectors = le64_of(disk_bytes / SECTOR_BYTES),
		.file_offset_bytes = le64_of(l.planes_offset),
	};
}

static bool planes_are_sound(const struct seal_superblock *super, const struct layout *l)
{
	uint64_t sectors = le64_get(super->disk_bytes) / SECTOR_BYTES;

	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const struct seal_plane *plane = &super->planes[i];
		uint64_t offset = le64_get(plane->file_offset_bytes);

		if (plane->kind == SEAL_PLANE_NONE)
			continue;
		/* Version 1: whole planes behind the map, in whichever order. */
		if (plane->kind > SEAL_PLANE_SEALED || le64_get(plane->first_sector) != 0 ||
		    le64_get(plane->sectors) != sectors || offset < l->planes_offset ||
		    (offset - l->planes_offset) % l->plane_bytes != 0 ||
		    (offset - l->planes_offset) / l->plane_bytes >= PLANES_MAX ||
		    (plane->kind == SEAL_PLANE_SEALED) != (le64_get(plane->key_id) != 0))
			return false;
		for (unsigned int j = 0; j < i; j++)
			if (super->planes[j].kind != SEAL_PLANE_NONE &&
			    le64_get(super->planes[j].file_offset_bytes) == offset)
				return false;
	}
	return true;
}

static bool policy_is_sound(const struct seal_superblock *super)
{
	unsigned int current = super->current_plane;
	uint8_t kind;

	if (current < SEAL_ENTRY_PLANE_FIRST || current >= SEAL_ENTRY_PLANE_FIRST + PLANES_MAX)
		return false;
	kind = super->planes[current - SEAL_ENTRY_PLANE_FIRST].kind;
	return super->encryption_enabled <= 1 && super->revoked <= 1 && super->has_base <= 1 &&
	       kind == (super->encryption_enabled ? SEAL_PLANE_SEALED : SEAL_PLANE_PLAIN) &&
	       (super->open_state == SEAL_CLEAN || super->open_state == SEAL_UNCLEAN) &&
	       super->rewrites <= (SEAL_REWRITE_ENCRYPT | SEAL_REWRITE_REKEY) &&
	       (super->rewrites_paused & ~super->rewrites) == 0 &&
	       le64_get(super->open_seq) >> (64 - SEAL_ROUND_BITS) == 0;
}

static bool geometry_is_sound(const struct seal_superblock *super)
{
	uint64_t disk_bytes = le64_get(super->disk_bytes);
	struct layout l;

	if (disk_bytes == 0 || disk_bytes > DISK_BYTES_MAX || disk_bytes % SECTOR_BYTES != 0)
		return false;
	l = layout_of(disk_bytes);
	return le32_get(super->header_bytes) == SEAL_SUPERBLOCK_BYTES &&
	       le32_get(super->entry_bits) == SEAL_ENTRY_BITS &&
	       le32_get(super->block_bytes) == SEAL_BLOCK_BYTES &&
	       le32_get(super->block_sectors) == SEAL_BLOCK_SECTORS &&
	       le32_get(super->keyring_bytes) == SEAL_KEYRING_BYTES &&
	       le64_get(super->keyring_offset[0]) == SEAL_KEYRING_A &&
	       le64_get(super->keyring_offset[1]) == SEAL_KEYRING_B &&
	       le64_get(super->names_offset[0]) == SEAL_NAMES_A &&
	       le64_get(super->names_offset[1]) == SEAL_NAMES_B &&
	       le32_get(super->names_bytes) == SEAL_NAMES_BYTES &&
	       le64_get(super->bitmap_offset) == SEAL_BITMAP_START &&
	       le64_get(super->bitmap_blocks) == l.bitmap_blocks &&
	       le64_get(super->map_offset) == l.map_offset &&
	       le64_get(super->map_blocks) == l.map_blocks && planes_are_sound(super, &l) &&
	       policy_is_sound(super);
}

enum superblock_verdict superblock_check(const struct seal_superblock *super)
{
	if (memcmp(super->magic, SEAL_MAGIC_SUPERBLOCK, sizeof(super->magic)) != 0)
		return SUPERBLOCK_NO_MAGIC;
	if (le32_get(super->crc) != crc_of(super))
		return SUPERBLOCK_BAD_CRC;
	if (le32_get(super->version) != SEAL_VERSION)
		return SUPERBLOCK_VERSION;
	if (le64_get(super->feature_incompat) != 0)
		return SUPERBLOCK_FEATURE;
	return geometry_is_sound(super) ? SUPERBLOCK_GOOD : SUPERBLOCK_GEOMETRY;
}

const char *superblock_verdict_text(enum superblock_verdict verdict)
{
	static const char *const texts[SUPERBLOCK_VERDICTS] = {
		[SUPERBLOCK_GOOD] = "superblock is good",
		[SUPERBLOCK_NO_MAGIC] = "not a sealblk image (no superblock magic)",
		[SUPERBLOCK_BAD_CRC] = "both superblocks are damaged (wrong checksum)",
		[SUPERBLOCK_VERSION] = "made by a newer sealblk: its format version is unknown",
		[SUPERBLOCK_FEATURE] = "made by a newer sealblk: it uses a feature unknown here",
		[SUPERBLOCK_GEOMETRY] = "superblock contradicts itself; refused",
	};

	return texts[verdict];
}
