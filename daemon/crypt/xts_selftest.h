/* SPDX-License-Identifier: MIT */
/*
 * How xts_select() chooses and what it demands. Apart from xts.h so that tests
 * can offer broken implementations; everybody else calls xts_select().
 */
#ifndef CRYPT_XTS_SELFTEST_H
#define CRYPT_XTS_SELFTEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "crypt/xts.h"

/*
 * Holds @ops against the known answers of IEEE 1619 (vectors 10 to 14), then
 * against OpenSSL taken one sector at a time: runs of many lengths, at odd
 * addresses, with sector numbers that carry into their upper half.
 * Returns 0, or -EIO when anything differs or the implementation does not start.
 */
int MUST_CHECK xts_self_test(const struct xts_ops *ops);

/*
 * xts_select() over the caller's @rows, fastest first. The last row is the
 * portable one, used when the chosen row fails its self-test.
 */
int MUST_CHECK xts_select_among(const struct xts_ops *const *rows, size_t nr_rows, const char *name,
				const struct xts_ops **ret_ops, bool *ret_fell_back);

#endif
