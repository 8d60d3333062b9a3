/* SPDX-License-Identifier: MIT */
/* AES-256-XTS: the choice of an implementation, and the keys. */
#include "crypt/xts.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "crypt/wrap.h"
#include "crypt/xts_selftest.h"
#include "sealblk/byteorder.h"

/* Fastest first; the portable one is last, it is what all others fall back to. */
static const struct xts_ops *const implementations[] = {
	&xts_vaes512_ops,
	&xts_vaes256_ops,
	&xts_aesni_ops,
	&xts_openssl_ops,
};

static const char tib_label[] = "sealblk xts v1";

/* @name NULL or "auto": the first supported row. NULL when there is none. */
static const struct xts_ops *find_row(const struct xts_ops *const *rows, size_t nr_rows,
				      const char *name)
{
	bool any = !name || strcmp(name, "auto") == 0;

	for (size_t i = 0; i < nr_rows; i++)
		if ((any || strcmp(name, rows[i]->name) == 0) && rows[i]->supported())
			return rows[i];
	return NULL;
}

int xts_select_among(const struct xts_ops *const *rows, size_t nr_rows, const char *name,
		     const struct xts_ops **ret_ops, bool *ret_fell_back)
{
	const struct xts_ops *portable = rows[nr_rows - 1];
	const struct xts_ops *wanted = find_row(rows, nr_rows, name);
	bool fall_back;

	if (!wanted)
		return -ENOENT;
	fall_back = xts_self_test(wanted) < 0;
	if (fall_back && (wanted == portable || xts_self_test(portable) < 0))
		return -EIO;

	*ret_ops = fall_back ? portable : wanted;
	*ret_fell_back = fall_back;
	return 0;
}

int xts_select(const char *name, const struct xts_ops **ret_ops, bool *ret_fell_back)
{
	return xts_select_among(implementations, ARRAY_LEN(implementations), name, ret_ops,
				ret_fell_back);
}

bool xts_key_is_weak(const struct xts_key *key)
{
	return CRYPTO_memcmp(key->bytes, key->bytes + XTS_KEY_BYTES / 2, XTS_KEY_BYTES / 2) == 0;
}

int xts_init(struct xts *xts, const struct xts_ops *ops, const struct xts_key *key)
{
	struct xts fresh = { .ops = ops };
	int r;

	if (xts_key_is_weak(key))
		return -EINVAL;
	r = ops->init(&fresh, key);
	if (r < 0)
		return r;
	*xts = fresh;
	return 0;
}

void xts_done(struct xts *xts)
{
	if (xts->ops)
		xts->ops->done(xts);
	*xts = (struct xts){ 0 };
}

int xts_key_of_tib(const struct xts_key *plane_key, uint64_t tib, struct xts_key *ret_key)
{
	struct {
		uint8_t label[sizeof(tib_label) - 1];
		le64 tib;
	} info = { .tib = le64_of(tib) };
	struct xts_key key;
	int r;

	memcpy(info.label, tib_label, sizeof(info.label));
	r = kdf_hkdf_sha512(plane_key->bytes, XTS_KEY_BYTES, NULL, 0, &info, sizeof(info),
			    key.bytes, XTS_KEY_BYTES);
	if (r == 0 && xts_key_is_weak(&key))
		r = -EINVAL;
	if (r == 0)
		*ret_key = key;
	OPENSSL_cleanse(&key, sizeof(key));
	return r;
}
