/* SPDX-License-Identifier: MIT */
/*
 * What the kernels of this folder that use AES instructions share: the expanded
 * keys. Not for other folders.
 */
#ifndef CRYPT_XTS_SCHEDULE_H
#define CRYPT_XTS_SCHEDULE_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "crypt/xts.h"

/* Unrolled, or the registers of a kernel would be an array in memory. */
#define XTS_UNROLL _Pragma("GCC unroll 16")

enum {
	AES_ROUNDS = 14, /* of AES-256 */
	AES_KEY_BYTES = XTS_KEY_BYTES / 2,
};

struct xts_schedule {
	__m128i encrypt[AES_ROUNDS + 1];
	__m128i decrypt[AES_ROUNDS + 1]; /* of the equivalent inverse cipher (FIPS 197, 5.3.5) */
	__m128i tweak[AES_ROUNDS + 1];
};

/* xts_ops.init and .done of these kernels: xts->impl is a struct xts_schedule. */
int MUST_CHECK xts_schedule_init(struct xts *xts, const struct xts_key *key);
void xts_schedule_done(struct xts *xts);

/* Does this processor have AES instructions; have them for wide registers? */
bool xts_has_aes(void);
bool xts_has_vaes(void);

#endif
