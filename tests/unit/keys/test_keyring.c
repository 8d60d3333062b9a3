/* SPDX-License-Identifier: MIT */
/* The keyring: opens with the right secret, and never opens wrongly. */
#include "keys/keyring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "unit/keys/fixture.h"

enum { NOW_S = 1700000000, FIRST_ROWS_END = 2048 };

static const uint8_t uuid[SEAL_UUID_BYTES] = "sixteen bytes id";
static const uint8_t other_uuid[SEAL_UUID_BYTES] = "another image!!!";
static const char key_text[] = "a key file of more than thirty-two bytes";

/* A keyring, its keys and the secret that opens it. */
struct made {
	struct seal_keyring ring;
	struct keyring_keys *keys;
	struct key_secret *secret;
};

static struct made make(enum key_source_kind kind, const char *text)
{
	struct made m = { .secret = secret_of(kind, text) };

	cr_assert_eq(keyring_create(uuid, m.secret, NOW_S, &m.ring, &m.keys), 0);
	return m;
}

static void unmake(struct made *m)
{
	key_mem_free(m->keys);
	key_mem_free(m->secret);
}

static int unlock(const struct seal_keyring *ring, const struct key_secret *secret,
		  unsigned int *ret_slot, struct keyring_keys **ret_keys)
{
	return keyring_unlock(ring, &secret, 1, ret_slot, ret_keys);
}

static void fix_crc(struct seal_keyring *ring)
{
	ring->crc = le32_of(0);
	ring->crc = le32_of(crc32c(0, ring, sizeof(*ring)));
}

/* Expects @wanted of an unlock, with nothing given out. */
static void expect_refused(const struct seal_keyring *ring, const struct key_secret *secret,
			   int wanted)
{
	struct keyring_keys *keys = NULL;
	unsigned int slot = 77;

	cr_expect_eq(unlock(ring, secret, &slot, &keys), wanted);
	cr_expect_null(keys);
	cr_expect_eq(slot, 77);
}

Test(keyring, new_one_passes_its_check_and_numbers_its_keys)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	cr_expect_eq(keyring_check(&m.ring, uuid), 0);
	cr_expect_eq(m.ring.slots[0].kind, SEAL_KEK_RAW);
	cr_expect_eq(le64_get(m.ring.slots[0].key_id), 1);
	cr_expect_eq(le64_get(m.ring.slots[0].created_s), NOW_S);
	cr_expect_eq(m.ring.slots[1].kind, 0);
	cr_expect_eq(le64_get(m.ring.mac_key_id), 2);
	cr_expect_eq(le64_get(m.ring.next_key_id), 4);
	cr_expect_not_null(keyring_find_mac_key(m.keys, 2));
	cr_expect_not_null(keyring_find_plane_key(m.keys, 3));
	unmake(&m);
}

Test(keyring, find_knows_no_other_ids_and_nothing_of_id_0)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	cr_expect_null(keyring_find_mac_key(m.keys, 3));
	cr_expect_null(keyring_find_plane_key(m.keys, 2));
	cr_expect_null(keyring_find_mac_key(m.keys, 0));
	cr_expect_null(keyring_find_plane_key(m.keys, 0));
	unmake(&m);
}

static void expect_opens_alike(const struct made *m)
{
	struct keyring_keys *keys = NULL;
	unsigned int slot = 77;

	cr_assert_eq(unlock(&m->ring, m->secret, &slot, &keys), 0);
	cr_expect_eq(slot, 0);
	cr_expect_arr_eq(keys, m->keys, sizeof(*keys));
	key_mem_free(keys);
}

Test(keyring, opens_with_its_key_file_to_the_same_keys)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	expect_opens_alike(&m);
	unmake(&m);
}

Test(keyring, opens_with_its_passphrase_to_the_same_keys)
{
	struct made m = make(KEY_SOURCE_PASSPHRASE, "correct horse");

	cr_expect_eq(m.ring.slots[0].kind, SEAL_KEK_SCRYPT);
	cr_expect_eq(m.ring.slots[0].scrypt_log_n, SCRYPT_LOG_N_DEFAULT);
	expect_opens_alike(&m);
	unmake(&m);
}

Test(keyring, rejects_other_secrets_and_none)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct key_secret *wrong = secret_of(KEY_SOURCE_FILE, key_text);
	struct key_secret *other_kind = secret_of(KEY_SOURCE_PASSPHRASE, key_text);
	struct keyring_keys *keys = NULL;
	unsigned int slot;

	wrong->bytes[wrong->nr_bytes - 1] ^= 1;
	expect_refused(&m.ring, wrong, -EKEYREJECTED);
	expect_refused(&m.ring, other_kind, -EKEYREJECTED);
	cr_expect_eq(keyring_unlock(&m.ring, NULL, 0, &slot, &keys), -EKEYREJECTED);
	key_mem_free(wrong);
	key_mem_free(other_kind);
	unmake(&m);
}

Test(keyring, tries_every_secret_on_every_slot)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct key_secret *wrong = secret_of(KEY_SOURCE_FILE, "thirty-two bytes, but not the key");
	const struct key_secret *const secrets[] = { wrong, m.secret };
	struct keyring_keys *keys = NULL;
	unsigned int slot = 77;

	m.ring.slots[5] = m.ring.slots[0];
	m.ring.slots[0] = (struct seal_key_slot){ 0 };
	cr_assert_eq(keyring_finish(&m.ring, m.keys), 0);
	cr_assert_eq(keyring_unlock(&m.ring, secrets, 2, &slot, &keys), 0);
	cr_expect_eq(slot, 5);
	key_mem_free(keys);
	key_mem_free(wrong);
	unmake(&m);
}

Test(keyring, no_two_are_alike_under_one_secret)
{
	struct made a = make(KEY_SOURCE_FILE, key_text);
	struct made b = make(KEY_SOURCE_FILE, key_text);

	cr_expect_arr_neq(a.keys->image_key, b.keys->image_key, SEAL_IMAGE_KEY_BYTES);
	cr_expect_arr_neq(a.keys->plane[0].key.bytes, b.keys->plane[0].key.bytes, XTS_KEY_BYTES);
	cr_expect_arr_neq(a.ring.slots[0].salt, b.ring.slots[0].salt, SEAL_SALT_BYTES);
	cr_expect_arr_neq(a.ring.slots[0].nonce, b.ring.slots[0].nonce, SEAL_WRAP_NONCE_BYTES);
	cr_expect_arr_neq(a.ring.mac_keys[0].nonce, a.ring.plane_keys[0].nonce,
			  SEAL_WRAP_NONCE_BYTES);
	unmake(&a);
	unmake(&b);
}

Test(keyring, holds_no_key_in_the_clear)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	cr_expect_null(memmem(&m.ring, sizeof(m.ring), m.keys->image_key, 16));
	cr_expect_null(memmem(&m.ring, sizeof(m.ring), m.keys->mac[0].key, 16));
	cr_expect_null(memmem(&m.ring, sizeof(m.ring), m.keys->plane[0].key.bytes, 16));
	unmake(&m);
}

Test(keyring, of_another_image_is_refused)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	cr_expect_eq(keyring_check(&m.ring, other_uuid), -EBADMSG);
	memcpy(m.ring.uuid, other_uuid, sizeof(other_uuid));
	fix_crc(&m.ring);
	cr_expect_eq(keyring_check(&m.ring, other_uuid), 0);
	expect_refused(&m.ring, m.secret, -EKEYREJECTED);
	unmake(&m);
}

Test(keyring, never_opens_with_a_byte_flipped)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	for (size_t at = 0; at < sizeof(m.ring); at += at < FIRST_ROWS_END ? 1 : 61) {
		struct seal_keyring bad = m.ring;
		struct keyring_keys *keys = NULL;
		unsigned int slot;
		int r;

		((uint8_t *)&bad)[at] ^= 1;
		cr_expect_eq(keyring_check(&bad, uuid), -EBADMSG, "byte %zu", at);
		fix_crc(&bad);
		if (memcmp(&bad, &m.ring, sizeof(bad)) == 0)
			continue; /* it was the CRC itself */
		r = unlock(&bad, m.secret, &slot, &keys);
		cr_expect(r == -EKEYREJECTED || r == -EBADMSG, "byte %zu: %d", at, r);
		cr_expect_null(keys);
	}
	unmake(&m);
}

Test(keyring, key_moved_to_another_place_does_not_open)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct seal_keyring bad = m.ring;

	/* The MAC key as a plane key, whole but for its purpose. */
	bad.plane_keys[1] = bad.mac_keys[0];
	bad.plane_keys[1].purpose = SEAL_KEY_PLANE;
	cr_assert_eq(keyring_finish(&bad, m.keys), 0);
	expect_refused(&bad, m.secret, -EBADMSG);

	bad = m.ring;
	bad.plane_keys[0].key_id = le64_of(9);
	cr_assert_eq(keyring_finish(&bad, m.keys), 0);
	expect_refused(&bad, m.secret, -EBADMSG);
	unmake(&m);
}

Test(keyring, hostile_scrypt_parameters_cost_nothing)
{
	static const struct {
		uint8_t log_n, r, p;
	} hostile[] = { { 63, 8, 1 }, { 20, 32, 16 }, { 255, 255, 255 }, { 0, 0, 0 } };
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct key_secret *passphrase = secret_of(KEY_SOURCE_PASSPHRASE, "correct horse");
	clock_t start = clock();

	m.ring.slots[0].kind = SEAL_KEK_SCRYPT;
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		m.ring.slots[0].scrypt_log_n = hostile[i].log_n;
		m.ring.slots[0].scrypt_r = hostile[i].r;
		m.ring.slots[0].scrypt_p = hostile[i].p;
		fix_crc(&m.ring);
		expect_refused(&m.ring, passphrase, -EINVAL);
	}
	cr_expect_lt(clock() - start, CLOCKS_PER_SEC / 10);
	key_mem_free(passphrase);
	unmake(&m);
}

Test(keyring, finish_makes_a_changed_keyring_good_again)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);

	m.ring.generation = le64_of(2);
	cr_expect_eq(keyring_check(&m.ring, uuid), -EBADMSG);
	cr_assert_eq(keyring_finish(&m.ring, m.keys), 0);
	cr_expect_eq(keyring_check(&m.ring, uuid), 0);
	expect_opens_alike(&m);
	unmake(&m);
}

/* ---- more plane keys ------------------------------------------------------- */

Test(keyring, gives_each_plane_key_an_id_of_its_own_and_opens_again)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct keyring_keys *keys = NULL;
	uint64_t first = 0, second = 0;
	unsigned int slot;

	cr_assert_eq(keyring_add_plane_key(&m.ring, m.keys, NOW_S, &first), 0);
	keyring_drop_plane_key(&m.ring, m.keys, first);
	cr_expect_null(keyring_find_plane_key(m.keys, first));
	cr_assert_eq(keyring_add_plane_key(&m.ring, m.keys, NOW_S, &second), 0);
	cr_expect_neq(first, second, "an id was given out twice");
	cr_assert_eq(keyring_finish(&m.ring, m.keys), 0);

	cr_assert_eq(unlock(&m.ring, m.secret, &slot, &keys), 0);
	cr_expect_null(keyring_find_plane_key(keys, first));
	cr_expect_arr_eq(keyring_find_plane_key(keys, second)->bytes,
			 keyring_find_plane_key(m.keys, second)->bytes, sizeof(struct xts_key));
	cr_expect_arr_neq(keyring_find_plane_key(keys, second)->bytes,
			  keyring_find_plane_key(keys, 3)->bytes, sizeof(struct xts_key));
	key_mem_free(keys);
	unmake(&m);
}

Test(keyring, says_when_no_row_is_free_and_changes_nothing)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct seal_keyring before;
	uint64_t key_id = 0;
	int r = 0;

	for (unsigned int i = 0; i < PLANE_KEYS_MAX && r == 0; i++) {
		before = m.ring;
		r = keyring_add_plane_key(&m.ring, m.keys, NOW_S, &key_id);
	}
	cr_expect_eq(r, -ENOSPC);
	cr_expect_arr_eq((const uint8_t *)&m.ring, (const uint8_t *)&before, sizeof(before));
	keyring_drop_plane_key(&m.ring, m.keys, 0);
	cr_expect_arr_eq((const uint8_t *)&m.ring, (const uint8_t *)&before, sizeof(before));
	keyring_drop_plane_key(&m.ring, m.keys, key_id);
	cr_expect_eq(keyring_add_plane_key(&m.ring, m.keys, NOW_S, &key_id), 0);
	unmake(&m);
}

/* ---- key slots ------------------------------------------------------------- */

Test(keyring, a_slot_that_was_added_opens_to_the_same_keys)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct key_secret *second = secret_of(KEY_SOURCE_FILE, "a second key of 32 bytes or more");
	struct keyring_keys *keys = NULL;
	unsigned int slot = 77;

	cr_expect_eq(keyring_find_slot(&m.ring, second, &slot), -EKEYREJECTED);
	cr_assert_eq(keyring_add_slot(&m.ring, m.keys, second, NOW_S + 1, &slot), 0);
	cr_expect_eq(slot, 1);
	cr_expect_eq(le64_get(m.ring.slots[1].key_id), 4);
	cr_expect_eq(le64_get(m.ring.slots[1].created_s), NOW_S + 1);
	cr_expect_eq(keyring_count_slots(&m.ring), 2);
	cr_assert_eq(keyring_finish(&m.ring, m.keys), 0);
	slot = 77;
	cr_assert_eq(unlock(&m.ring, second, &slot, &keys), 0);
	cr_expect_eq(slot, 1);
	cr_expect_arr_eq(keys, m.keys, sizeof(*keys));
	key_mem_free(keys);
	expect_opens_alike(&m);
	cr_expect_eq(keyring_find_slot(&m.ring, second, &slot), 0);
	cr_expect_eq(slot, 1);
	key_mem_free(second);
	unmake(&m);
}

Test(keyring, a_slot_that_was_dropped_opens_no_more_and_its_id_does_not_come_back)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	static const struct seal_key_slot empty;
	struct key_secret *second = secret_of(KEY_SOURCE_FILE, "a second key of 32 bytes or more");
	unsigned int slot = 77;

	cr_assert_eq(keyring_add_slot(&m.ring, m.keys, second, NOW_S, &slot), 0);
	keyring_drop_slot(&m.ring, 1);
	cr_expect_arr_eq((const uint8_t *)&m.ring.slots[1], (const uint8_t *)&empty, sizeof(empty));
	cr_assert_eq(keyring_finish(&m.ring, m.keys), 0);
	expect_refused(&m.ring, second, -EKEYREJECTED);
	cr_assert_eq(keyring_add_slot(&m.ring, m.keys, second, NOW_S, &slot), 0);
	cr_expect_eq(slot, 1);
	cr_expect_eq(le64_get(m.ring.slots[1].key_id), 5);
	keyring_drop_slot(&m.ring, 0);
	keyring_drop_slot(&m.ring, 1);
	cr_expect_eq(keyring_count_slots(&m.ring), 0);
	cr_assert_eq(keyring_finish(&m.ring, m.keys), 0);
	expect_refused(&m.ring, m.secret, -EKEYREJECTED);
	key_mem_free(second);
	unmake(&m);
}

Test(keyring, says_when_no_slot_is_free_and_changes_nothing)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct seal_keyring before;
	unsigned int slot = 77;

	for (unsigned int i = 1; i < KEY_SLOTS_MAX; i++)
		cr_assert_eq(keyring_add_slot(&m.ring, m.keys, m.secret, NOW_S, &slot), 0);
	cr_expect_eq(slot, KEY_SLOTS_MAX - 1);
	before = m.ring;
	cr_expect_eq(keyring_add_slot(&m.ring, m.keys, m.secret, NOW_S, &slot), -ENOSPC);
	cr_expect_arr_eq((const uint8_t *)&m.ring, (const uint8_t *)&before, sizeof(before));
	unmake(&m);
}

Test(keyring, finds_a_secret_in_whichever_slot_it_is)
{
	struct made m = make(KEY_SOURCE_FILE, key_text);
	struct key_secret *secret = secret_of(KEY_SOURCE_FILE, "key number 0, of 32 bytes or more");
	unsigned int slot;

	for (unsigned int i = 1; i < KEY_SLOTS_MAX; i++) {
		secret->bytes[11] = (uint8_t)('0' + i);
		cr_assert_eq(keyring_add_slot(&m.ring, m.keys, secret, NOW_S, &slot), 0);
	}
	for (unsigned int i = 1; i < KEY_SLOTS_MAX; i++) {
		secret->bytes[11] = (uint8_t)('0' + i);
		cr_expect_eq(keyring_find_slot(&m.ring, secret, &slot), 0);
		cr_expect_eq(slot, i);
	}
	key_mem_free(secret);
	unmake(&m);
}
