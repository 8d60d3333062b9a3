/* SPDX-License-Identifier: MIT */
/*
 * Checking an image: the rows of its keyring, and with a secret the wrapped keys
 * and the MACs of superblocks, keyrings and name/value areas.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "image/check_state.h"
#include "image/superblock.h"
#include "keys/key_mem.h"
#include "keys/key_wrap.h"

static const uint64_t super_places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
static const uint64_t keyring_places[2] = { SEAL_KEYRING_A, SEAL_KEYRING_B };
static const uint64_t names_places[2] = { SEAL_NAMES_A, SEAL_NAMES_B };

/* ---- rows, without a key ---- */

/* Where @part of the keyring copy that counts lies. */
static void locate_row(const struct check *check, struct check_finding *finding, const void *part,
		       const char *what, unsigned int i)
{
	int best = check->keyring_choice.best;
	size_t at = (size_t)((const uint8_t *)part - (const uint8_t *)&check->keyrings[best]);

	check_locate(finding, keyring_places[best] + at, sizeof(struct seal_wrapped_key), "%s %u",
		     what, i);
	check_means(finding, "the image is refused when it is unlocked");
	check_advise(finding, CHECK_RESTORE);
}
_Static_assert(sizeof(struct seal_wrapped_key) == sizeof(struct seal_key_slot), "rows are alike");

/* docs/format.md 6; the sum of what scrypt would cost is judged before it is paid. */
static const char *slot_fault(const struct seal_key_slot *slot, uint64_t next_key_id)
{
	uint64_t key_id = le64_get(slot->key_id);

	if (slot->kind > SEAL_KEK_SCRYPT)
		return "is of an unknown kind";
	if (key_id == 0 || key_id >= next_key_id)
		return "has a key id that was never given out";
	if (slot->kind == SEAL_KEK_SCRYPT &&
	    (slot->scrypt_log_n < 1 || slot->scrypt_log_n > SCRYPT_LOG_N_MAX ||
	     slot->scrypt_r < 1 || slot->scrypt_r > SCRYPT_R_MAX || slot->scrypt_p < 1 ||
	     slot->scrypt_p > SCRYPT_P_MAX))
		return "asks for a scrypt that is out of bounds";
	return NULL;
}

static const char *row_fault(const struct seal_wrapped_key *row, enum seal_key_purpose purpose,
			     uint64_t next_key_id)
{
	uint64_t key_id = le64_get(row->key_id);

	if (row->purpose != purpose)
		return "holds a key of another purpose";
	return key_id == 0 || key_id >= next_key_id ? "has a key id that was never given out"
						    : NULL;
}

static void check_slots(struct check *check, const struct seal_keyring *ring)
{
	uint64_t next_key_id = le64_get(ring->next_key_id);
	struct check_finding finding = { 0 };

	for (unsigned int i = 0; i < KEY_SLOTS_MAX; i++) {
		const struct seal_key_slot *slot = &ring->slots[i];
		const char *fault = slot->kind ? slot_fault(slot, next_key_id) : NULL;

		if (!fault)
			continue;
		locate_row(check, &finding, slot, "key slot", i);
		check_tell(check, &finding, CHECK_PROBLEM, "%s", fault);
	}
}

static void check_rows(struct check *check, const struct seal_keyring *ring,
		       const struct seal_wrapped_key *rows, unsigned int nr_rows,
		       enum seal_key_purpose purpose, const char *name)
{
	uint64_t next_key_id = le64_get(ring->next_key_id);
	struct check_finding finding = { 0 };

	for (unsigned int i = 0; i < nr_rows; i++) {
		const char *fault = rows[i].purpose ? row_fault(&rows[i], purpose, next_key_id)
						    : NULL;

		if (!fault)
			continue;
		locate_row(check, &finding, &rows[i], name, i);
		check_tell(check, &finding, CHECK_PROBLEM, "%s", fault);
	}
}

static bool has_key(const struct seal_wrapped_key *rows, unsigned int nr_rows, le64 key_id)
{
	for (unsigned int i = 0; i < nr_rows; i++)
		if (rows[i].purpose && le64_get(rows[i].key_id) == le64_get(key_id))
			return true;
	return false;
}

/* @who names a key that the keyring does not hold. */
static void tell_missing(struct check *check, const char *who, const char *what, le64 key_id)
{
	int best = check->keyring_choice.best;
	struct check_finding finding = { 0 };

	check->keys_missing = true;
	check_locate(&finding, keyring_places[best], SEAL_KEYRING_BYTES, "keyring %c", 'A' + best);
	check_means(&finding, "the image is refused when it is unlocked");
	check_advise(&finding, CHECK_RESTORE);
	check_tell(check, &finding, CHECK_PROBLEM, "lacks %s %" PRIu64 ", which the %s names", what,
		   le64_get(key_id), who);
}

/* Whoever names a key must find it. */
static void check_names_of_keys(struct check *check, const struct seal_keyring *ring)
{
	const struct seal_superblock *super = check->super;
	const struct seal_names *names = &check->names[check->names_choice.best > 0];

	if (!has_key(ring->mac_keys, MAC_KEYS_MAX, super->mac_key_id))
		tell_missing(check, "superblock", "MAC key", super->mac_key_id);
	if (!has_key(ring->mac_keys, MAC_KEYS_MAX, ring->mac_key_id))
		tell_missing(check, "keyring itself", "MAC key", ring->mac_key_id);
	if (check->names_choice.best >= 0 &&
	    !has_key(ring->mac_keys, MAC_KEYS_MAX, names->mac_key_id))
		tell_missing(check, "name/value area", "MAC key", names->mac_key_id);
	for (unsigned int i = 0; i < PLANES_MAX; i++)
		if (super->planes[i].kind == SEAL_PLANE_SEALED &&
		    !has_key(ring->plane_keys, PLANE_KEYS_MAX, super->planes[i].key_id))
			tell_missing(check, "superblock", "plane key", super->planes[i].key_id);
}

/* ---- with a secret ---- */

/* @counts: of the copy, among the two. */
static void tell_forged(struct check *check, const char *name, int copy, bool counts,
			uint64_t offset_bytes, uint32_t nr_bytes, const char *what)
{
	struct check_finding finding = { 0 };

	check_locate(&finding, offset_bytes, nr_bytes, "%s %c", name, 'A' + copy);
	check_means(&finding, "somebody without the key has changed it%s",
		    counts ? ", so the image is refused" : "; it does not count now");
	check_advise(&finding, CHECK_RESTORE);
	check_tell(check, &finding, CHECK_PROBLEM, "%s", what);
}

struct row_scratch {
	struct keyring_keys keys;
	uint64_t key_id;
	uint8_t key[SEAL_PLANE_KEY_BYTES];
};

/* @scratch: holds the image key. Returns how many rows do not unwrap. */
static unsigned int tell_bad_rows(struct check *check, const struct seal_wrapped_key *rows,
				  unsigned int nr_rows, enum seal_key_purpose purpose,
				  const char *name, struct row_scratch *scratch)
{
	struct check_finding finding = { 0 };
	unsigned int nr_bad = 0;

	for (unsigned int i = 0; i < nr_rows; i++) {
		if (key_wrap_open_row(&rows[i], purpose, &scratch->keys, &scratch->key_id,
				      scratch->key) == 0)
			continue;
		locate_row(check, &finding, &rows[i], name, i);
		check_tell(check, &finding, CHECK_PROBLEM, "does not unwrap");
		nr_bad++;
	}
	return nr_bad;
}

static bool open_any_slot(const struct seal_keyring *ring, const struct key_secret *secret,
			  struct keyring_keys *keys)
{
	for (unsigned int i = 0; i < KEY_SLOTS_MAX; i++)
		if (ring->slots[i].kind && key_wrap_open_slot(&ring->slots[i], secret, keys) == 0)
			return true;
	return false;
}

/* The keyring that counts has not opened as it should: why? */
static int explain_keyring(struct check *check, const struct seal_keyring *ring)
{
	struct row_scratch *scratch = key_mem_new(sizeof(*scratch));
	int best = check->keyring_choice.best;
	unsigned int nr_bad = 0;

	if (!scratch)
		return -ENOMEM;
	memcpy(scratch->keys.uuid, ring->uuid, SEAL_UUID_BYTES);
	if (open_any_slot(ring, check->order->secret, &scratch->keys)) {
		nr_bad += tell_bad_rows(check, ring->mac_keys, MAC_KEYS_MAX, SEAL_KEY_MAC,
					"MAC key row", scratch);
		nr_bad += tell_bad_rows(check, ring->plane_keys, PLANE_KEYS_MAX, SEAL_KEY_PLANE,
					"plane key row", scratch);
	}
	if (nr_bad == 0)
		tell_forged(check, "keyring", best, true, keyring_places[best], SEAL_KEYRING_BYTES,
			    "has a wrong MAC");
	key_mem_free(scratch);
	return 0;
}

static int unlock(struct check *check, const struct seal_keyring *ring)
{
	const struct key_secret *secret = check->order->secret;
	unsigned int slot;
	int r;

	if (check->super->revoked) {
		problem_set(check->problem, "image", check->order->path,
			    "its keys are revoked: check it without one");
		return -EKEYREJECTED;
	}
	r = keyring_unlock(ring, &secret, 1, &slot, &check->keys);
	if (r == -EBADMSG || r == -EINVAL)
		return explain_keyring(check, ring);
	if (r == -EKEYREJECTED)
		problem_set(check->problem, "image", check->order->path,
			    "the key given does not open it");
	else if (r < 0)
		problem_set(check->problem, "image", check->order->path, "cannot be unlocked: %s",
			    strerror(-r));
	return r;
}

/* An older keyring is not used, but what it holds may be copied back. */
static void check_older_keyring(struct check *check)
{
	struct check_choice *choice = &check->keyring_choice;
	const struct key_secret *secret = check->order->secret;
	struct keyring_keys *keys = NULL;
	unsigned int slot;
	int other = !choice->best;
	int r;

	if (!choice->whole[other] ||
	    memcmp(&check->keyrings[0], &check->keyrings[1], sizeof(check->keyrings[0])) == 0)
		return;
	r = keyring_unlock(&check->keyrings[other], &secret, 1, &slot, &keys);
	key_mem_free(keys);
	choice->right[other] = r == 0;
	if (check_is_forged(check, r == -EKEYREJECTED || r == -EINVAL ? 0 : r))
		tell_forged(check, "keyring", other, false, keyring_places[other],
			    SEAL_KEYRING_BYTES, "has a wrong MAC or a key that does not unwrap");
}

static void check_macs(struct check *check)
{
	struct check_choice *super = &check->super_choice, *names = &check->names_choice;

	for (int i = 0; i < 2; i++) {
		const int r = super->whole[i] ? superblock_check_mac(&check->supers[i], check->mac)
					      : 0;

		super->right[i] = super->whole[i] && r == 0;
		if (check_is_forged(check, r))
			tell_forged(check, "superblock", i, i == super->best, super_places[i],
				    SEAL_SUPERBLOCK_BYTES, "has a wrong MAC");
	}
	for (int i = 0; i < 2; i++) {
		const int r = names->whole[i] ? names_check_mac(&check->names[i], check->mac) : 0;

		names->right[i] = names->whole[i] && r == 0;
		if (check_is_forged(check, r))
			tell_forged(check, "name/value area", i, i == names->best, names_places[i],
				    SEAL_NAMES_BYTES, "has a wrong MAC");
	}
}

int check_keys(struct check *check)
{
	const struct seal_keyring *ring = &check->keyrings[check->keyring_choice.best > 0];
	const uint8_t *mac_key;
	int r;

	if (check->keyring_choice.best < 0)
		return 0;
	check_slots(check, ring);
	check_rows(check, ring, ring->mac_keys, MAC_KEYS_MAX, SEAL_KEY_MAC, "MAC key row");
	check_rows(check, ring, ring->plane_keys, PLANE_KEYS_MAX, SEAL_KEY_PLANE, "plane key row");
	check_names_of_keys(check, ring);
	if (!check->order->secret)
		return 0;
	r = unlock(check, ring);
	if (r < 0 || !check->keys)
		return r;
	check->keyring_choice.right[check->keyring_choice.best] = !check->keys_missing;
	check_older_keyring(check);
	mac_key = keyring_find_mac_key(check->keys, le64_get(check->super->mac_key_id));
	/* Missing: it was told above. */
	if (!mac_key)
		return 0;
	r = mac_init(&check->mac_ctx, mac_key);
	if (r < 0) {
		problem_set(check->problem, "image", check->order->path, "cannot set up its MAC");
		return r;
	}
	check->mac = &check->mac_ctx;
	check->result.has_macs = true;
	check_macs(check);
	return 0;
}
