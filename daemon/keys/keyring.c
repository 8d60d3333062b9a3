/* SPDX-License-Identifier: MIT */
/*
 * The keyring:
 *
 *	secret --KDF--> KEK --unwraps--> image key --unwraps--> MAC and plane keys
 *
 * Keys lie in key memory from the moment they exist; what is on the stack here
 * is wrapped, or public.
 */
#include "keys/keyring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "crypt/mac.h"
#include "crypt/wrap.h"
#include "keys/key_mem.h"
#include "keys/key_wrap.h"

enum {
	FIRST_KEK_ID = 1,
	FIRST_MAC_KEY_ID = 2,
	FIRST_PLANE_KEY_ID = 3,
	FIRST_FREE_KEY_ID = 4,
};

_Static_assert((int)SEAL_MAC_KEY_BYTES == (int)MAC_KEY_BYTES, "MAC key");
_Static_assert((int)SEAL_MAC_BYTES == (int)MAC_BYTES, "MAC");

static void keys_freep(struct keyring_keys **keys)
{
	*keys = key_mem_free(*keys);
}

/* Every secret on every slot. Any failure but a rejected key ends the search. */
static int find_slot(const struct seal_keyring *ring, const struct key_secret *const *secrets,
		     unsigned int nr_secrets, struct keyring_keys *keys)
{
	for (unsigned int s = 0; s < nr_secrets; s++) {
		for (unsigned int i = 0; i < KEY_SLOTS_MAX; i++) {
			int r = key_wrap_open_slot(&ring->slots[i], secrets[s], keys);

			if (r == 0)
				return (int)i;
			if (r != -EKEYREJECTED)
				return r;
		}
	}
	return -EKEYREJECTED;
}

static int rows_open(const struct seal_keyring *ring, struct keyring_keys *keys)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < MAC_KEYS_MAX; i++)
		r = key_wrap_open_row(&ring->mac_keys[i], SEAL_KEY_MAC, keys, &keys->mac[i].key_id,
				      keys->mac[i].key);
	for (unsigned int i = 0; r == 0 && i < PLANE_KEYS_MAX; i++)
		r = key_wrap_open_row(&ring->plane_keys[i], SEAL_KEY_PLANE, keys,
				      &keys->plane[i].key_id, keys->plane[i].key.bytes);
	return r;
}

static uint32_t crc_of(const struct seal_keyring *ring)
{
	struct seal_keyring copy = *ring;

	copy.crc = le32_of(0);
	return crc32c(0, &copy, sizeof(copy));
}

static int mac_of(const struct seal_keyring *ring, const uint8_t key[MAC_KEY_BYTES],
		  uint8_t ret_mac[MAC_BYTES])
{
	CLEANUP(mac_done) struct mac_ctx ctx = { 0 };
	struct seal_keyring copy = *ring;
	int r = mac_init(&ctx, key);

	if (r < 0)
		return r;
	copy.crc = le32_of(0);
	memset(copy.mac, 0, sizeof(copy.mac));
	return mac_compute(&ctx, &copy, sizeof(copy), ret_mac);
}

static int mac_check(const struct seal_keyring *ring, const struct keyring_keys *keys)
{
	const uint8_t *key = keyring_find_mac_key(keys, le64_get(ring->mac_key_id));
	uint8_t mac[MAC_BYTES];
	int r;

	if (!key)
		return -EBADMSG;
	r = mac_of(ring, key, mac);
	if (r < 0)
		return r;
	return mac_equal(mac, ring->mac) ? 0 : -EBADMSG;
}

/* Equal halves come once in 2^256 draws; IEEE 1619 wants them refused all the same. */
static int draw_plane_key(struct xts_key *ret_key)
{
	int r;

	do {
		r = random_private(ret_key->bytes, sizeof(ret_key->bytes));
	} while (r == 0 && xts_key_is_weak(ret_key));
	return r;
}

static int draw_keys(const uint8_t uuid[SEAL_UUID_BYTES], struct keyring_keys *keys)
{
	int r;

	memcpy(keys->uuid, uuid, SEAL_UUID_BYTES);
	keys->mac[0].key_id = FIRST_MAC_KEY_ID;
	keys->plane[0].key_id = FIRST_PLANE_KEY_ID;
	r = random_private(keys->image_key, sizeof(keys->image_key));
	if (r == 0)
		r = random_private(keys->mac[0].key, sizeof(keys->mac[0].key));
	if (r == 0)
		r = draw_plane_key(&keys->plane[0].key);
	return r;
}

/* The keyring of new @keys, all wrapped; @ring is zeroed. */
static int seal_new(const struct keyring_keys *keys, const struct key_secret *secret,
		    uint64_t now_s, struct seal_keyring *ring)
{
	struct seal_wrapped_key *mac_row = &ring->mac_keys[0];
	struct seal_wrapped_key *plane_row = &ring->plane_keys[0];
	int r;

	memcpy(ring->magic, SEAL_MAGIC_KEYRING, sizeof(ring->magic));
	memcpy(ring->uuid, keys->uuid, SEAL_UUID_BYTES);
	ring->generation = le64_of(1);
	ring->next_key_id = le64_of(FIRST_FREE_KEY_ID);
	ring->mac_key_id = le64_of(FIRST_MAC_KEY_ID);
	ring->slots[0].key_id = le64_of(FIRST_KEK_ID);
	ring->slots[0].created_s = le64_of(now_s);
	*mac_row = (struct seal_wrapped_key){ .purpose = SEAL_KEY_MAC,
					      .key_id = le64_of(FIRST_MAC_KEY_ID),
					      .created_s = le64_of(now_s) };
	*plane_row = (struct seal_wrapped_key){ .purpose = SEAL_KEY_PLANE,
						.key_id = le64_of(FIRST_PLANE_KEY_ID),
						.created_s = le64_of(now_s) };

	r = key_wrap_seal_slot(&ring->slots[0], keys, secret);
	if (r == 0)
		r = key_wrap_seal_row(mac_row, keys, keys->mac[0].key);
	if (r == 0)
		r = key_wrap_seal_row(plane_row, keys, keys->plane[0].key.bytes);
	return r == 0 ? keyring_finish(ring, keys) : r;
}

int keyring_check(const struct seal_keyring *ring, const uint8_t uuid[SEAL_UUID_BYTES])
{
	if (memcmp(ring->magic, SEAL_MAGIC_KEYRING, sizeof(ring->magic)) != 0 ||
	    memcmp(ring->uuid, uuid, SEAL_UUID_BYTES) != 0 || le32_get(ring->crc) != crc_of(ring))
		return -EBADMSG;
	return 0;
}

int keyring_create(const uint8_t uuid[SEAL_UUID_BYTES], const struct key_secret *secret,
		   uint64_t now_s, struct seal_keyring *ret_ring, struct keyring_keys **ret_keys)
{
	CLEANUP(keys_freep) struct keyring_keys *keys = key_mem_new(sizeof(*keys));
	struct seal_keyring ring = { 0 };
	int r;

	if (!keys)
		return -ENOMEM;
	r = draw_keys(uuid, keys);
	if (r == 0)
		r = seal_new(keys, secret, now_s, &ring);
	if (r < 0)
		return r;

	*ret_ring = ring;
	*ret_keys = keys;
	keys = NULL;
	return 0;
}

int keyring_unlock(const struct seal_keyring *ring, const struct key_secret *const *secrets,
		   unsigned int nr_secrets, unsigned int *ret_slot, struct keyring_keys **ret_keys)
{
	CLEANUP(keys_freep) struct keyring_keys *keys = key_mem_new(sizeof(*keys));
	int slot;
	int r;

	if (!keys)
		return -ENOMEM;
	memcpy(keys->uuid, ring->uuid, SEAL_UUID_BYTES);
	slot = find_slot(ring, secrets, nr_secrets, keys);
	if (slot < 0)
		return slot;
	r = rows_open(ring, keys);
	if (r == 0)
		r = mac_check(ring, keys);
	if (r < 0)
		return r;

	*ret_slot = (unsigned int)slot;
	*ret_keys = keys;
	keys = NULL;
	return 0;
}

int keyring_find_slot(const struct seal_keyring *ring, const struct key_secret *secret,
		      unsigned int *ret_slot)
{
	CLEANUP(keys_freep) struct keyring_keys *keys = key_mem_new(sizeof(*keys));
	int slot;

	if (!keys)
		return -ENOMEM;
	memcpy(keys->uuid, ring->uuid, SEAL_UUID_BYTES);
	slot = find_slot(ring, &secret, 1, keys);
	if (slot < 0)
		return slot;
	*ret_slot = (unsigned int)slot;
	return 0;
}

int keyring_add_slot(struct seal_keyring *ring, const struct keyring_keys *keys,
		     const struct key_secret *secret, uint64_t now_s, unsigned int *ret_slot)
{
	const uint64_t key_id = le64_get(ring->next_key_id);
	struct seal_key_slot wrapped = { .key_id = ring->next_key_id, .created_s = le64_of(now_s) };
	unsigned int slot = 0;
	int r;

	while (slot < KEY_SLOTS_MAX && ring->slots[slot].kind != 0)
		slot++;
	if (slot == KEY_SLOTS_MAX)
		return -ENOSPC;
	r = key_wrap_seal_slot(&wrapped, keys, secret);
	if (r < 0)
		return r;
	ring->slots[slot] = wrapped;
	ring->next_key_id = le64_of(key_id + 1);
	*ret_slot = slot;
	return 0;
}

void keyring_drop_slot(struct seal_keyring *ring, unsigned int slot)
{
	ring->slots[slot] = (struct seal_key_slot){ 0 };
}

unsigned int keyring_count_slots(const struct seal_keyring *ring)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < KEY_SLOTS_MAX; i++)
		nr += ring->slots[i].kind != 0;
	return nr;
}

/* The row of plane key @key_id, or of none when it is 0; PLANE_KEYS_MAX: there is none. */
static unsigned int find_row(const struct seal_keyring *ring, uint64_t key_id)
{
	unsigned int row = 0;

	while (row < PLANE_KEYS_MAX && le64_get(ring->plane_keys[row].key_id) != key_id)
		row++;
	return row;
}

/* The same for the open key: rows and open keys need not lie alike. */
static unsigned int find_key(const struct keyring_keys *keys, uint64_t key_id)
{
	unsigned int place = 0;

	while (place < PLANE_KEYS_MAX && keys->plane[place].key_id != key_id)
		place++;
	return place;
}

int keyring_add_plane_key(struct seal_keyring *ring, struct keyring_keys *keys, uint64_t now_s,
			  uint64_t *ret_key_id)
{
	const unsigned int row = find_row(ring, 0);
	const unsigned int place = find_key(keys, 0);
	const uint64_t key_id = le64_get(ring->next_key_id);
	struct seal_wrapped_key wrapped = { .purpose = SEAL_KEY_PLANE,
					    .key_id = le64_of(key_id),
					    .created_s = le64_of(now_s) };
	int r;

	if (row == PLANE_KEYS_MAX || place == PLANE_KEYS_MAX)
		return -ENOSPC;
	r = draw_plane_key(&keys->plane[place].key);
	if (r == 0)
		r = key_wrap_seal_row(&wrapped, keys, keys->plane[place].key.bytes);
	if (r < 0) {
		explicit_bzero(&keys->plane[place].key, sizeof(keys->plane[place].key));
		return r;
	}
	keys->plane[place].key_id = key_id;
	ring->plane_keys[row] = wrapped;
	ring->next_key_id = le64_of(key_id + 1);
	*ret_key_id = key_id;
	return 0;
}

void keyring_drop_plane_key(struct seal_keyring *ring, struct keyring_keys *keys, uint64_t key_id)
{
	const unsigned int row = find_row(ring, key_id);
	const unsigned int place = find_key(keys, key_id);

	if (key_id == 0)
		return;
	if (row < PLANE_KEYS_MAX)
		ring->plane_keys[row] = (struct seal_wrapped_key){ 0 };
	if (place < PLANE_KEYS_MAX)
		explicit_bzero(&keys->plane[place], sizeof(keys->plane[place]));
}

/* All rows of @ring, which has their ids, under the image key of @keys. */
static int seal_rows(struct seal_keyring *ring, const struct keyring_keys *keys)
{
	int r = 0;

	for (unsigned int i = 0; i < MAC_KEYS_MAX && r == 0; i++)
		if (ring->mac_keys[i].purpose)
			r = key_wrap_seal_row(
				&ring->mac_keys[i], keys,
				keyring_find_mac_key(keys, le64_get(ring->mac_keys[i].key_id)));
	for (unsigned int i = 0; i < PLANE_KEYS_MAX && r == 0; i++)
		if (ring->plane_keys[i].purpose)
			r = key_wrap_seal_row(
				&ring->plane_keys[i], keys,
				keyring_find_plane_key(keys, le64_get(ring->plane_keys[i].key_id))
					->bytes);
	return r;
}

int keyring_renew_image_key(struct seal_keyring *ring, struct keyring_keys *keys,
			    const struct key_secret *secret, unsigned int slot)
{
	CLEANUP(keys_freep) struct keyring_keys *renewed = key_mem_new(sizeof(*renewed));
	struct seal_keyring next = *ring;
	int r;

	if (!renewed)
		return -ENOMEM;
	*renewed = *keys;
	for (unsigned int i = 0; i < KEY_SLOTS_MAX; i++)
		if (i != slot)
			keyring_drop_slot(&next, i);
	r = random_private(renewed->image_key, sizeof(renewed->image_key));
	if (r == 0)
		r = key_wrap_seal_slot(&next.slots[slot], renewed, secret);
	if (r == 0)
		r = seal_rows(&next, renewed);
	if (r < 0)
		return r;
	*ring = next;
	*keys = *renewed;
	return 0;
}

/* Id 0 marks an empty place, so nobody may find it. */
const struct xts_key *keyring_find_plane_key(const struct keyring_keys *keys, uint64_t key_id)
{
	for (unsigned int i = 0; key_id != 0 && i < PLANE_KEYS_MAX; i++)
		if (keys->plane[i].key_id == key_id)
			return &keys->plane[i].key;
	return NULL;
}

const uint8_t *keyring_find_mac_key(const struct keyring_keys *keys, uint64_t key_id)
{
	for (unsigned int i = 0; key_id != 0 && i < MAC_KEYS_MAX; i++)
		if (keys->mac[i].key_id == key_id)
			return keys->mac[i].key;
	return NULL;
}

int keyring_finish(struct seal_keyring *ring, const struct keyring_keys *keys)
{
	const uint8_t *key = keyring_find_mac_key(keys, le64_get(ring->mac_key_id));
	int r;

	/* Created or unlocked with these very keys. */
	assert(key);
	r = mac_of(ring, key, ring->mac);
	if (r < 0)
		return -EIO;
	ring->crc = le32_of(crc_of(ring));
	return 0;
}
