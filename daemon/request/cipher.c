/* SPDX-License-Identifier: MIT */
/* Expanded keys of a lane: see cipher.h. */
#include "request/cipher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct xts *xts_of(struct lane *lane, unsigned int entry, uint64_t tib)
{
	return &lane->xts[entry * (uint64_t)lane->disk->nr_tib + tib];
}

static int init_plane(struct lane *lane, const struct xts_ops *ops, unsigned int entry,
		      const struct xts_key *plane_key)
{
	for (uint64_t tib = 0; tib < lane->disk->nr_tib; tib++) {
		struct xts_key key;
		int r = xts_key_of_tib(plane_key, tib, &key);

		if (r == 0)
			r = xts_init(xts_of(lane, entry, tib), ops, &key);
		explicit_bzero(&key, sizeof(key));
		if (r < 0)
			return r;
	}
	return 0;
}

int cipher_init(struct lane *lane, const struct xts_ops *ops,
		const struct xts_key *const plane_keys[MAP_VALUES])
{
	lane->xts = calloc((size_t)MAP_VALUES * lane->disk->nr_tib, sizeof(*lane->xts));
	if (!lane->xts)
		return -ENOMEM;
	for (unsigned int entry = SEAL_ENTRY_PLANE_FIRST; entry < MAP_VALUES; entry++) {
		int r = plane_keys[entry] ? init_plane(lane, ops, entry, plane_keys[entry]) : 0;

		if (r < 0) {
			cipher_done(lane);
			return r;
		}
	}
	return 0;
}

int cipher_add(struct lane *lane, const struct xts_ops *ops, uint8_t entry,
	       const struct xts_key *plane_key)
{
	int r = init_plane(lane, ops, entry, plane_key);

	if (r < 0)
		cipher_drop(lane, entry);
	return r;
}

void cipher_drop(struct lane *lane, uint8_t entry)
{
	for (uint64_t tib = 0; tib < lane->disk->nr_tib; tib++)
		xts_done(xts_of(lane, entry, tib));
}

bool cipher_is_there(const struct lane *lane)
{
	return lane->xts != NULL;
}

bool cipher_has(const struct lane *lane, uint8_t entry)
{
	return lane->xts[entry * (uint64_t)lane->disk->nr_tib].ops != NULL;
}

void cipher_done(struct lane *lane)
{
	if (!lane->xts)
		return;
	for (uint64_t i = 0; i < (uint64_t)MAP_VALUES * lane->disk->nr_tib; i++)
		xts_done(&lane->xts[i]);
	free(lane->xts);
	lane->xts = NULL;
}

typedef void (*xts_fn)(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors, uint8_t *data);

static void over_tibs(struct lane *lane, uint8_t entry, uint64_t first_sector, uint64_t nr_sectors,
		      uint8_t *data, xts_fn crypt)
{
	if (lane->disk->map.config.planes[entry].kind != SEAL_PLANE_SEALED)
		return;
	while (nr_sectors > 0) {
		uint64_t tib = first_sector / TIB_SECTORS;
		uint64_t left_in_tib = (tib + 1) * TIB_SECTORS - first_sector;
		uint32_t nr = (uint32_t)min_u64(nr_sectors, left_in_tib);

		crypt(xts_of(lane, entry, tib), first_sector, nr, data);
		data += sectors_to_bytes(nr);
		first_sector += nr;
		nr_sectors -= nr;
	}
}

void cipher_encrypt(struct lane *lane, uint8_t entry, uint64_t first_sector, uint64_t nr_sectors,
		    uint8_t *data)
{
	over_tibs(lane, entry, first_sector, nr_sectors, data, xts_encrypt);
}

void cipher_decrypt(struct lane *lane, uint8_t entry, uint64_t first_sector, uint64_t nr_sectors,
		    uint8_t *data)
{
	over_tibs(lane, entry, first_sector, nr_sectors, data, xts_decrypt);
}
