/* SPDX-License-Identifier: MIT */
/*
 * Another current plane for an image that is being served (invariant 9).
 *
 * whoever holds server->changes: hold writes back -> wait for those in flight -> image_switch()
 *   -> each worker's lane learns the new key -> writes go on
 */
#ifndef SWITCH_H
#define SWITCH_H

#include "base/compiler.h"
#include "image/image.h"
#include "image/problem.h"
#include "server.h"

/*
 * With server->changes held, while the workers run. Blocks:
 * writes wait meanwhile, reads do not. Returns 0, also when nothing had to
 * change; -EKEYREJECTED: its keys are revoked; -EROFS: served read-only; -EPERM: encryption is not to be switched off
 * here (--require-encryption); otherwise as image_switch().
 */
int MUST_CHECK server_switch(struct server *server, struct image *image, enum image_target target,
			     struct problem *problem);

#endif
