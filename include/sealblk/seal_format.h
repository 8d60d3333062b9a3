/* SPDX-License-Identifier: MIT */
/*
 * The image format, version 1, as bytes on disk. docs/format.md explains it;
 * the numbers are here and nowhere else. All integers are little-endian.
 *
 * Every structure that carries a MAC has it computed with the MAC and CRC
 * fields as zeros; then the CRC32C is computed with only its own field as zero,
 * so that damage can be told without keys.
 */
#ifndef SEALBLK_SEAL_FORMAT_H
#define SEALBLK_SEAL_FORMAT_H

#include <stddef.h>

#include "sealblk/byteorder.h"
#include "sealblk/limits.h"

enum {
	SEAL_VERSION = 1,
	SEAL_UUID_BYTES = 16,
	SEAL_NONCE_BYTES = 16,
	SEAL_MAC_BYTES = 32, /* HMAC-SHA-256 */

	/* Fixed places, bytes from the start of the image. */
	SEAL_SUPERBLOCK_BYTES = 4096,
	SEAL_SUPERBLOCK_A = 0,
	SEAL_SUPERBLOCK_B = 64 << 10,
	SEAL_KEYRING_BYTES = 16 << 10,
	SEAL_KEYRING_A = 128 << 10,
	SEAL_KEYRING_B = 192 << 10,
	SEAL_NAMES_BYTES = 32 << 10,
	SEAL_NAMES_A = 256 << 10,
	SEAL_NAMES_B = 320 << 10,
	SEAL_BITMAP_START = 1 << 20,
	SEAL_ALIGN = 1 << 20, /* where the map and each plane begin */

	/* Map and bitmap blocks; two slots of one block lie side by side. */
	SEAL_BLOCK_BYTES = 4096,
	SEAL_BLOCK_HEADER_BYTES = 128,
	SEAL_BLOCK_BODY_BYTES = SEAL_BLOCK_BYTES - SEAL_BLOCK_HEADER_BYTES,
	SEAL_PAIR_BYTES = 2 * SEAL_BLOCK_BYTES,
	SEAL_ENTRY_BITS = 4,
	SEAL_BLOCK_SECTORS = SEAL_BLOCK_BODY_BYTES * 2, /* 7936 */
	SEAL_BITMAP_BITS = SEAL_BLOCK_BODY_BYTES * 8,	/* 31744 map blocks */
	SEAL_ROUND_BITS = 40, /* of a generation; the rest is the open_seq */
};

/* Map entries. 2..15: the plane that holds the sector. */
enum {
	SEAL_ENTRY_BASE = 0,
	SEAL_ENTRY_ZERO = 1,
	SEAL_ENTRY_PLANE_FIRST = 2,
};

#define SEAL_MAGIC_SUPERBLOCK "SEALBLK" /* eight bytes with the final NUL */
#define SEAL_MAGIC_KEYRING    "SEALKEY"
#define SEAL_MAGIC_NAMES      "SEALNAM"
#define SEAL_MAGIC_MAP	      "SEALMAP"
#define SEAL_MAGIC_BITMAP     "SEALWBM"

enum seal_plane_kind {
	SEAL_PLANE_NONE = 0,
	SEAL_PLANE_PLAIN = 1,
	SEAL_PLANE_SEALED = 2,
};

enum seal_open_state {
	SEAL_CLEAN = 1,
	SEAL_UNCLEAN = 2,
};

enum seal_rewrite {
	SEAL_REWRITE_ENCRYPT = 1, /* until no sector is plain or the base's */
	SEAL_REWRITE_REKEY = 2,	  /* until only one sealed plane holds any */
};

/* One row of the plane table; row i is map value i + 2. */
struct seal_plane {
	uint8_t kind; /* enum seal_plane_kind */
	uint8_t reserved[7];
	le64 key_id;		/* of the plane key; 0 when not sealed */
	le64 first_sector;	/* on the disk; version 1: 0 */
	le64 sectors;		/* version 1: the whole disk */
	le64 file_offset_bytes; /* of first_sector */
	le64 born_generation;	/* an older map block naming the plane is refused */
	uint8_t reserved2[16];
};
_Static_assert(sizeof(struct seal_plane) == 64, "plane row");

struct seal_superblock {
	uint8_t magic[8];
	le32 version;
	le32 header_bytes;	/* 4096 */
	le64 feature_compat;	/* unknown bits: ignored */
	le64 feature_ro_compat; /* unknown bits: not opened for writing */
	le64 feature_incompat;	/* unknown bits: not opened */
	uint8_t uuid[SEAL_UUID_BYTES];
	le64 generation; /* of the superblock: the highest valid copy wins */
	le64 disk_bytes;
	le32 entry_bits;    /* 4 */
	le32 block_bytes;   /* 4096 */
	le32 block_sectors; /* 7936 */
	le32 keyring_bytes;
	le64 keyring_offset[2];
	le64 names_offset[2];
	le32 names_bytes;
	le32 reserved0;
	le64 bitmap_offset;
	le64 bitmap_blocks;
	le64 map_offset;
	le64 map_blocks;
	le64 created_s; /* seconds since 1970-01-01 UTC */

	/* Policy. */
	uint8_t encryption_enabled; /* 0 or 1 */
	uint8_t current_plane;	    /* map value, 2..15 */
	uint8_t revoked;	    /* 0 or 1 */
	uint8_t has_base;	    /* 0 or 1: entries of value 0 read from the base */
	uint8_t reserved1[4];
	le64 last_enabled_s; /* 0: never */

	/* The open that last wrote. */
	uint8_t open_state; /* enum seal_open_state */
	uint8_t reserved2[7];
	le64 open_seq;			      /* counts opens, below 2^24; in map generations */
	uint8_t open_nonce[SEAL_NONCE_BYTES]; /* pairs the image with its dirty file */
	uint8_t boot_id[SEAL_UUID_BYTES];

	/* Background rewrites under way: bits of enum seal_rewrite. */
	uint8_t rewrites;
	uint8_t rewrites_paused; /* of these */
	uint8_t reserved3[256 - 234];
	/* Of a clean image, when @counts_generation is @generation: see docs/format.md 2. */
	le64 counts[16]; /* sectors by map value */
	le64 counts_generation;
	le64 counts_base_data;	  /* sectors of entry 0 that are data of the base ... */
	le64 counts_base_extents; /* ... if this is not 0: from a digest of its extents */

	uint8_t reserved6[512 - 408];
	struct seal_plane planes[PLANES_MAX];

	uint8_t reserved4[4096 - 512 - 64 * PLANES_MAX - 48];
	le64 mac_key_id;
	uint8_t mac[SEAL_MAC_BYTES];
	uint8_t reserved5[4];
	le32 crc;
};
_Static_assert(sizeof(struct seal_superblock) == 4096, "superblock");
_Static_assert(offsetof(struct seal_superblock, generation) == 56, "superblock layout");
_Static_assert(offsetof(struct seal_superblock, counts) == 256, "superblock layout");
_Static_assert(offsetof(struct seal_superblock, planes) == 512, "superblock layout");
_Static_assert(offsetof(struct seal_superblock, mac_key_id) == 4048, "superblock layout");
_Static_assert(_Alignof(struct seal_superblock) == 1, "may lie at any address");

/* A map block or a bitmap block. */
struct seal_block {
	uint8_t magic[8];
	le32 crc;
	le32 reserved0;
	le64 index;	 /* number of the block in its area */
	le64 generation; /* open_seq << 40 | round; the higher valid slot wins */
	le64 mac_key_id;
	uint8_t mac[SEAL_MAC_BYTES];
	uint8_t uuid[SEAL_UUID_BYTES];
	uint8_t reserved1[SEAL_BLOCK_HEADER_BYTES - 88];
	/*
	 * Map: sector i of the block is nibble i, low nibble first.
	 * Bitmap: map block i is bit i, low bit first.
	 */
	uint8_t body[SEAL_BLOCK_BODY_BYTES];
};
_Static_assert(sizeof(struct seal_block) == SEAL_BLOCK_BYTES, "block");
_Static_assert(offsetof(struct seal_block, body) == SEAL_BLOCK_HEADER_BYTES, "block layout");

enum {
	SEAL_KEK_RAW = 1,    /* HKDF-SHA-512 of a key file's bytes */
	SEAL_KEK_SCRYPT = 2, /* scrypt of a passphrase (RFC 7914) */
	SEAL_WRAP_NONCE_BYTES = 12,
	SEAL_WRAP_TAG_BYTES = 16,
	SEAL_IMAGE_KEY_BYTES = 32,
	SEAL_MAC_KEY_BYTES = 32,
	SEAL_PLANE_KEY_BYTES = 64,
	SEAL_SALT_BYTES = 32,
};

/* A key slot: the image key wrapped by one KEK. kind 0: empty. */
struct seal_key_slot {
	uint8_t kind; /* SEAL_KEK_RAW or SEAL_KEK_SCRYPT */
	uint8_t scrypt_log_n;
	uint8_t scrypt_r;
	uint8_t scrypt_p;
	uint8_t reserved0[4];
	le64 key_id; /* of the KEK in this slot; never re-used */
	le64 created_s;
	uint8_t salt[SEAL_SALT_BYTES];
	uint8_t nonce[SEAL_WRAP_NONCE_BYTES];
	uint8_t wrapped[SEAL_IMAGE_KEY_BYTES];
	uint8_t tag[SEAL_WRAP_TAG_BYTES];
	uint8_t reserved1[12];
};
_Static_assert(sizeof(struct seal_key_slot) == 128, "key slot");

/* A key wrapped by the image key. purpose 0: empty. */
struct seal_wrapped_key {
	uint8_t purpose; /* enum seal_key_purpose */
	uint8_t reserved0[7];
	le64 key_id; /* never re-used */
	le64 created_s;
	uint8_t nonce[SEAL_WRAP_NONCE_BYTES];
	uint8_t wrapped[SEAL_PLANE_KEY_BYTES]; /* a MAC key uses the first 32 bytes */
	uint8_t tag[SEAL_WRAP_TAG_BYTES];
	uint8_t reserved1[12];
};
_Static_assert(sizeof(struct seal_wrapped_key) == 128, "wrapped key");

enum seal_key_purpose {
	SEAL_KEY_IMAGE = 1, /* only in the AAD of key slots */
	SEAL_KEY_PLANE = 2,
	SEAL_KEY_MAC = 3,
};

/*
 * What GCM binds a wrapped key to (NIST SP 800-38D): a key moved to another
 * image, another id or another purpose does not unwrap.
 */
struct seal_wrap_aad {
	uint8_t label[16]; /* "sealblk wrap v1", NUL */
	uint8_t uuid[SEAL_UUID_BYTES];
	le64 key_id;
	le64 purpose; /* enum seal_key_purpose */
};
_Static_assert(sizeof(struct seal_wrap_aad) == 48, "wrap AAD");

struct seal_keyring {
	uint8_t magic[8];
	le32 crc;
	le32 reserved0;
	uint8_t uuid[SEAL_UUID_BYTES];
	le64 generation; /* the highest valid copy wins */
	le64 next_key_id;
	le64 mac_key_id;
	uint8_t mac[SEAL_MAC_BYTES];
	uint8_t reserved1[128 - 88];
	struct seal_key_slot slots[KEY_SLOTS_MAX];
	struct seal_wrapped_key mac_keys[MAC_KEYS_MAX];
	struct seal_wrapped_key plane_keys[PLANE_KEYS_MAX];
	uint8_t reserved2[SEAL_KEYRING_BYTES - 128 -
			  128 * (KEY_SLOTS_MAX + MAC_KEYS_MAX + PLANE_KEYS_MAX)];
};
_Static_assert(sizeof(struct seal_keyring) == SEAL_KEYRING_BYTES, "keyring");
_Static_assert(offsetof(struct seal_keyring, slots) == 128, "keyring layout");

/* The name/value area: this header, then records until @used_bytes. */
struct seal_names {
	uint8_t magic[8];
	le32 crc;
	le32 used_bytes; /* of @records */
	uint8_t uuid[SEAL_UUID_BYTES];
	le64 generation;
	le64 mac_key_id;
	uint8_t mac[SEAL_MAC_BYTES];
	uint8_t reserved[128 - 80];
	/* le16 name bytes, le32 value bytes, name, value; no padding, no NUL. */
	uint8_t records[SEAL_NAMES_BYTES - 128];
};
_Static_assert(sizeof(struct seal_names) == SEAL_NAMES_BYTES, "name/value area");
_Static_assert(offsetof(struct seal_names, records) == 128, "names layout");

#endif
