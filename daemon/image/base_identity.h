/* SPDX-License-Identifier: MIT */
/*
 * What an image records about its base, and the check that it still is that
 * base: a copy is accepted, a changed file is refused by naming what differs.
 *
 * Records in the name/value area (integers little-endian, strings without NUL):
 *
 *   base.path           string: as given by the user, for messages
 *   base.path_absolute  string: with symbolic links resolved
 *   base.path_relative  string: from the image's folder to the base
 *   base.format         string: "raw", "vhd" or "vhdx"
 *   base.file_bytes     64 bits: length of the file
 *   base.disk_bytes     64 bits: size of the disk in it
 *   base.digest_kind    string: "sha256-full" or "sha256-sampled"
 *   base.digest         32 bytes, see base_digest.h
 *   base.mtime_ns       64 bits, two's complement: modification time since 1970, a hint
 *   base.inode          64 bits: a hint
 *   base.vhd_uuid       16 bytes      (format "vhd" only, as are the next two)
 *   base.vhd_timestamp  32 bits: seconds since 2000-01-01 UTC, from the footer
 *   base.footer         512 bytes: the VHD footer verbatim
 *   base.vhdx_disk_id        16 bytes (format "vhdx" only, as is the next): a GUID as on disk
 *   base.vhdx_data_write_id  16 bytes: the GUID that changes when the disk does
 *   base.owned_footer   512 bytes: only of an owned base, see base_own.h; its footer
 *                       from then on, all else being as it was before
 *
 * and for each parent of a differencing VHD, N = 1 for the nearest:
 *
 *   base.parent.N.vhd_uuid, .vhd_timestamp, .file_bytes, .digest_kind, .digest
 *
 * or of a differencing VHDX:
 *
 *   base.parent.N.vhdx_disk_id, .vhdx_data_write_id, .file_bytes, .digest_kind, .digest
 */
#ifndef IMAGE_BASE_IDENTITY_H
#define IMAGE_BASE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/base.h"
#include "image/base_digest.h"
#include "sealblk/seal_format.h"

/* A file further down in a chain of differencing VHDs or VHDXs. */
struct base_parent_identity {
	uint8_t vhd_uuid[VHD_UUID_BYTES];
	uint32_t vhd_timestamp_s;
	uint8_t vhdx_disk_id[VHDX_GUID_BYTES];
	uint8_t vhdx_data_write_id[VHDX_GUID_BYTES];
	uint64_t file_bytes;
	enum base_digest_kind digest_kind;
	uint8_t digest[BASE_DIGEST_BYTES];
};

/* About 15 KiB. */
struct base_identity {
	char path[PATH_BYTES_MAX];
	char path_absolute[PATH_BYTES_MAX];
	char path_relative[PATH_BYTES_MAX];
	enum base_format format;
	uint64_t file_bytes;
	uint64_t disk_bytes;
	enum base_digest_kind digest_kind;
	uint8_t digest[BASE_DIGEST_BYTES];
	int64_t mtime_ns;
	uint64_t inode;

	/* BASE_VHD. */
	uint8_t vhd_uuid[VHD_UUID_BYTES];
	uint32_t vhd_timestamp_s;
	uint8_t footer[VHD_FOOTER_BYTES];
	bool owned;
	uint8_t owned_footer[VHD_FOOTER_BYTES]; /* if @owned */

	/* BASE_VHDX. */
	uint8_t vhdx_disk_id[VHDX_GUID_BYTES];
	uint8_t vhdx_data_write_id[VHDX_GUID_BYTES];

	/* Either of the two. */
	unsigned int nr_parents;
	struct base_parent_identity parents[BASE_LAYERS_MAX - 1];
};

/*
 * Describe an open base for the image at @image_path (its folder must exist).
 * @path: how the user named the base. @full: digest whole files whatever their
 * size; base_identity_check() will then read all of them at each open.
 * Blocks while it reads. Returns 0, or with *ret_problem: -EINVAL: an image owns
 * it, or a parent; -ENAMETOOLONG: a path does not fit; or the negative errno of
 * reading or of resolving a path.
 */
int MUST_CHECK base_identity_take(const struct base *base, const char *path, const char *image_path,
				  bool full, struct base_identity *ret_identity,
				  struct problem *ret_problem);

/*
 * Is @base (open, of the recorded format) the one @identity was taken of? Of an
 * owned one, once adopted, the footer and the sizes tell: its content goes.
 * @path: where it was found, for messages.
 * *ret_touched: the same inode with another modification time and the same
 *     digest: worth a warning, since a sampled digest may have missed a change.
 * Blocks while it reads. Returns 0; -ESTALE with *ret_problem when it, or
 * one of its parents, has changed; or with *ret_problem the negative errno of reading.
 */
int MUST_CHECK base_identity_check(const struct base_identity *identity, const struct base *base,
				   const char *path, bool *ret_touched,
				   struct problem *ret_problem);

/* Of an owned base: the UUID of the image that it belongs to. */
void base_identity_owner(const struct base_identity *identity, uint8_t ret_uuid[SEAL_UUID_BYTES]);

/*
 * Where the base is now: the absolute path if something is there, else the
 * recorded relative one, seen from the folder of the image at @image_path.
 * Returns 0, or -ENOENT when neither exists.
 */
int MUST_CHECK base_identity_find(const struct base_identity *identity, const char *image_path,
				  char ret_path[PATH_BYTES_MAX]);

/*
 * Add the records above to an area that has none of them.
 * Returns 0, -EEXIST or -ENOSPC as names_append(); some may then have been added.
 */
int MUST_CHECK base_identity_encode(const struct base_identity *identity, struct seal_names *names);

/* Returns 0; -ENOENT: nothing about a base is recorded; -EBADMSG: missing or unsound records. */
int MUST_CHECK base_identity_decode(const struct seal_names *names,
				    struct base_identity *ret_identity);

#endif
