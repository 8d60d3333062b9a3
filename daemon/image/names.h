/* SPDX-License-Identifier: MIT */
/*
 * Codec of the name/value area (struct seal_names; docs/format.md): where an
 * image keeps what describes its base, page-blob metadata and the like.
 *
 * A name is 1..NAMES_NAME_BYTES_MAX bytes without a NUL and stands once; a value
 * is any 0..NAMES_VALUE_BYTES_MAX bytes. Works on the bytes of one struct;
 * reading and writing the two copies is the caller's. No I/O, no allocation.
 */
#ifndef IMAGE_NAMES_H
#define IMAGE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/cursor.h"
#include "crypt/mac.h"
#include "sealblk/seal_format.h"

/* The footer, verbatim, of the VHD that was imported into the image. */
#define NAMES_SOURCE_FOOTER "source.footer"

/* One record. The pointers lie inside the area and live as long as it stays unchanged. */
struct names_record {
	const char *name; /* no NUL at its end */
	size_t name_bytes;
	const uint8_t *value;
	size_t value_bytes;
};

/* An empty area of image @uuid. Not yet fit for the disk: names_finish(). */
void names_init(struct seal_names *names, const uint8_t uuid[SEAL_UUID_BYTES]);

/*
 * Is this a name/value area of image @uuid with a good CRC and sound records?
 * Needs no key. Returns 0, or -EBADMSG. The functions below want an area that
 * has passed, or was built here; on others they stop at the first unsound record.
 */
int MUST_CHECK names_check(const struct seal_names *names, const uint8_t uuid[SEAL_UUID_BYTES]);

/*
 * Check the MAC. @mac: the key that names->mac_key_id names.
 * Returns 0, -EBADMSG when it is wrong, -EIO when OpenSSL fails.
 */
int MUST_CHECK names_check_mac(const struct seal_names *names, struct mac_ctx *mac);

/* Walk over the records in the order they were added: start with names_first(). */
struct cursor names_first(const struct seal_names *names);

/* Returns false after the last record; *ret_record is then untouched. */
bool names_next(struct cursor *next, struct names_record *ret_record);

/*
 * @name: NUL-terminated. *ret_value points into the area.
 * Returns 0, or -ENOENT.
 */
int MUST_CHECK names_find(const struct seal_names *names, const char *name,
			  const uint8_t **ret_value, size_t *ret_value_bytes);

/*
 * Add a record; invalidates no pointer into the area.
 * Returns 0; -EINVAL: name or value has a length outside the limits; -EEXIST;
 * -ENOSPC: the area or NAMES_RECORDS_MAX is full.
 */
int MUST_CHECK names_append(struct seal_names *names, const char *name, const void *value,
			    size_t value_bytes);

/*
 * Make the area fit for the disk: set generation and key id, then MAC and CRC.
 * @mac: the key called @mac_key_id. Returns 0, or -EIO when OpenSSL fails.
 */
int MUST_CHECK names_finish(struct seal_names *names, uint64_t generation, uint64_t mac_key_id,
			    struct mac_ctx *mac);

#endif
