/* SPDX-License-Identifier: MIT */
/*
 * Owned bases: a fixed VHD that one image adopts, so that its plaintext can be
 * punched out of it as the disk is rewritten. Its footer gets the image's UUID as
 * unique id, and a mark: nobody else's image takes it for its base any more
 * (docs/format.md 11).
 */
#ifndef IMAGE_BASE_OWN_H
#define IMAGE_BASE_OWN_H

#include <stdbool.h>

#include "base/compiler.h"
#include "image/base.h"
#include "image/base_identity.h"

/*
 * Let @identity, taken of @base, say that it is owned, by an image yet to be
 * made, whose UUID is to be @uuid. Writes nothing. Returns 0; -EINVAL with
 * *ret_problem: @base cannot be owned.
 */
int MUST_CHECK base_own_prepare(struct base_identity *identity, const struct base *base,
				const uint8_t uuid[SEAL_UUID_BYTES], struct problem *ret_problem);

/* Has @base, which base_identity_check() has accepted, its owner's footer? */
bool base_is_adopted(const struct base_identity *identity, const struct base *base);

/*
 * Adopt @base, open for writing, unless that has been done: write its footer,
 * durably. Blocks. Returns 0, or with *ret_problem the negative errno of writing:
 * which footer it has is then not known, and either is accepted at the next open.
 */
int MUST_CHECK base_adopt(const struct base_identity *identity, const struct base *base,
			  struct problem *ret_problem);

#endif
