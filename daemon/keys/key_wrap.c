/* SPDX-License-Identifier: MIT */
/* KEKs from secrets, and keys wrapped by keys. Keys lie in key memory only. */
#include "keys/key_wrap.h"

#include <errno.h>
#include <string.h>

#include "crypt/wrap.h"
#include "keys/key_mem.h"

enum {
	KEK_BYTES = WRAP_KEY_BYTES,
	SCRYPT_R_DEFAULT = 8,
	SCRYPT_P_DEFAULT = 1,
};

_Static_assert((int)SEAL_IMAGE_KEY_BYTES == (int)WRAP_KEY_BYTES, "the image key wraps");
_Static_assert((int)SEAL_WRAP_NONCE_BYTES == (int)WRAP_NONCE_BYTES, "nonce");
_Static_assert((int)SEAL_WRAP_TAG_BYTES == (int)WRAP_TAG_BYTES, "tag");
_Static_assert((int)SEAL_PLANE_KEY_BYTES == (int)XTS_KEY_BYTES, "plane key");

static const char kek_label[] = "sealblk kek v1";
static const char wrap_label[] = "sealblk wrap v1";

/* What HKDF's info says: whose KEK this is. */
struct kek_info {
	uint8_t label[sizeof(kek_label) - 1];
	uint8_t uuid[SEAL_UUID_BYTES];
};

static void kek_freep(uint8_t **kek)
{
	*kek = key_mem_free(*kek);
}

static uint8_t slot_kind_of(enum key_source_kind kind)
{
	return kind == KEY_SOURCE_PASSPHRASE ? SEAL_KEK_SCRYPT : SEAL_KEK_RAW;
}

static struct seal_wrap_aad aad_of(const uint8_t uuid[SEAL_UUID_BYTES], le64 key_id,
				   enum seal_key_purpose purpose)
{
	struct seal_wrap_aad aad = { .key_id = key_id, .purpose = le64_of(purpose) };

	memcpy(aad.label, wrap_label, sizeof(wrap_label));
	memcpy(aad.uuid, uuid, SEAL_UUID_BYTES);
	return aad;
}

/* @slot: its salt and parameters. @ret_kek: in key memory. Errors as kdf_scrypt()'s. */
static int derive_kek(const struct seal_key_slot *slot, const uint8_t uuid[SEAL_UUID_BYTES],
		      const struct key_secret *secret, uint8_t *ret_kek)
{
	struct kek_info info;

	if (secret->kind == KEY_SOURCE_PASSPHRASE)
		return kdf_scrypt(secret->bytes, secret->nr_bytes, slot->salt, SEAL_SALT_BYTES,
				  slot->scrypt_log_n, slot->scrypt_r, slot->scrypt_p, ret_kek,
				  KEK_BYTES);
	memcpy(info.label, kek_label, sizeof(info.label));
	memcpy(info.uuid, uuid, SEAL_UUID_BYTES);
	return kdf_hkdf_sha512(secret->bytes, secret->nr_bytes, slot->salt, SEAL_SALT_BYTES, &info,
			       sizeof(info), ret_kek, KEK_BYTES);
}

static size_t key_bytes_of(enum seal_key_purpose purpose)
{
	return purpose == SEAL_KEY_MAC ? SEAL_MAC_KEY_BYTES : SEAL_PLANE_KEY_BYTES;
}

int key_wrap_seal_slot(struct seal_key_slot *slot, const struct keyring_keys *keys,
		       const struct key_secret *secret)
{
	struct seal_wrap_aad aad = aad_of(keys->uuid, slot->key_id, SEAL_KEY_IMAGE);
	CLEANUP(kek_freep) uint8_t *kek = key_mem_new(KEK_BYTES);
	int r;

	if (!kek)
		return -ENOMEM;
	slot->kind = slot_kind_of(secret->kind);
	if (slot->kind == SEAL_KEK_SCRYPT) {
		slot->scrypt_log_n = SCRYPT_LOG_N_DEFAULT;
		slot->scrypt_r = SCRYPT_R_DEFAULT;
		slot->scrypt_p = SCRYPT_P_DEFAULT;
	}
	r = random_public(slot->salt, sizeof(slot->salt));
	if (r == 0)
		r = random_public(slot->nonce, sizeof(slot->nonce));
	if (r == 0)
		r = derive_kek(slot, keys->uuid, secret, kek);
	if (r < 0)
		return r;
	return wrap_seal(kek, slot->nonce, &aad, sizeof(aad), keys->image_key, SEAL_IMAGE_KEY_BYTES,
			 slot->wrapped, slot->tag);
}

int key_wrap_open_slot(const struct seal_key_slot *slot, const struct key_secret *secret,
		       struct keyring_keys *keys)
{
	struct seal_wrap_aad aad = aad_of(keys->uuid, slot->key_id, SEAL_KEY_IMAGE);
	CLEANUP(kek_freep) uint8_t *kek = NULL;
	int r;

	if (slot->kind != slot_kind_of(secret->kind))
		return -EKEYREJECTED;
	kek = key_mem_new(KEK_BYTES);
	if (!kek)
		return -ENOMEM;
	r = derive_kek(slot, keys->uuid, secret, kek);
	if (r < 0)
		return r;
	return wrap_open(kek, slot->nonce, &aad, sizeof(aad), slot->wrapped, SEAL_IMAGE_KEY_BYTES,
			 slot->tag, keys->image_key);
}

int key_wrap_seal_row(struct seal_wrapped_key *row, const struct keyring_keys *keys,
		      const uint8_t *key)
{
	struct seal_wrap_aad aad = aad_of(keys->uuid, row->key_id, row->purpose);
	int r = random_public(row->nonce, sizeof(row->nonce));

	if (r < 0)
		return r;
	return wrap_seal(keys->image_key, row->nonce, &aad, sizeof(aad), key,
			 key_bytes_of(row->purpose), row->wrapped, row->tag);
}

int key_wrap_open_row(const struct seal_wrapped_key *row, enum seal_key_purpose purpose,
		      const struct keyring_keys *keys, uint64_t *ret_key_id, uint8_t *ret_key)
{
	struct seal_wrap_aad aad = aad_of(keys->uuid, row->key_id, purpose);
	int r;

	if (row->purpose == 0)
		return 0;
	if (row->purpose != purpose || le64_get(row->key_id) == 0)
		return -EBADMSG;
	r = wrap_open(keys->image_key, row->nonce, &aad, sizeof(aad), row->wrapped,
		      key_bytes_of(purpose), row->tag, ret_key);
	if (r == 0)
		*ret_key_id = le64_get(row->key_id);
	return r == -EKEYREJECTED ? -EBADMSG : r;
}
