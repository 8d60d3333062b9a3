/* SPDX-License-Identifier: MIT */
/*
 * Revoking and restoring the keys of an image that is being served.
 *
 * control thread: requests answer EPERM -> those under way end -> the map comes to
 *   rest -> each worker's lane forgets its keys, and so does the image -> equal
 *   slots and `revoked`, durable
 * and back: keyring -> each worker's lane gets its keys -> a new session, durable
 *   -> requests are let in, on the connections there are
 *
 * On the control thread, while the workers run; one change of an image at a time.
 */
#ifndef REVOKE_H
#define REVOKE_H

#include <stdbool.h>

#include "base/compiler.h"
#include "image/image.h"
#include "image/problem.h"
#include "server.h"

/*
 * Blocks: REVOKE_MS at most until the keys are gone, unless a worker hangs in a
 * system call of its disk; then as long as the disk takes.
 * *ret_changed: they were not revoked already. Returns 0; -EROFS: served read-only;
 * -EIO: the keys are gone, but whether that is durable shows at the next open.
 */
int MUST_CHECK server_revoke(struct server *server, struct image *image, bool *ret_changed,
			     struct problem *problem);

/*
 * Returns 0; otherwise nothing has changed: -EROFS; -EKEYREJECTED: @secret opens
 * no slot, also of an image that is not revoked; or as image_restore_keys() and
 * image_restore_finish().
 */
int MUST_CHECK server_restore(struct server *server, struct image *image,
			      const struct key_secret *secret, bool *ret_changed,
			      struct problem *problem);

/* For all that wants the keys. Returns -EKEYREJECTED, and says what to do. */
int MUST_CHECK server_refuse_revoked(const struct image *image, struct problem *problem);

#endif
