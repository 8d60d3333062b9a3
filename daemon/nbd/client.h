/* SPDX-License-Identifier: MIT */
/*
 * The client's side of the handshake, as far as it takes to choose an export by
 * NBD_OPT_GO: what the kernel's client wants done before it takes over. No socket:
 * the caller reads and writes.
 *
 *   nbdc_begin -> read, nbdc_feed (greeting) -> write nbdc_encode_go()
 *              -> { read, nbdc_feed } until wanted_bytes is 0
 *
 * Source: proto.md, "Fixed newstyle negotiation".
 */
#ifndef NBD_CLIENT_H
#define NBD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/limits.h"
#include "sealblk/nbd_wire.h"

enum {
	/* The longest data of a reply that is listened to: a name, or the text of an error. */
	NBDC_FEED_BYTES_MAX = NBD_NAME_BYTES_MAX + 64,
	NBDC_GO_BYTES_MAX = sizeof(be32) + sizeof(struct nbd_option) + sizeof(be32) +
			    EXPORT_NAME_BYTES_MAX + 2 * sizeof(be16),
	NBDC_REPLIES_MAX = 16, /* to one option: the kinds of information are fewer */
};

enum nbdc_step {
	NBDC_GREETING,
	NBDC_REPLY,
	NBDC_DATA, /* of a reply */
	NBDC_CHOSEN,
};

/* What the server says of the export. */
struct nbdc_export {
	uint64_t bytes;		     /* a multiple of @minimum_bytes */
	uint16_t transmission_flags; /* NBD_FLAG_*, HAS_FLAGS among them */
	uint32_t minimum_bytes;	     /* of a block: a power of two, 512 to 65536 */
};

struct nbdc {
	size_t wanted_bytes; /* to be fed next, exactly; 0: all is said */
	struct nbdc_export export;

	/* Its own. */
	enum nbdc_step step;
	uint32_t reply_type;
	unsigned int nr_replies;
	bool has_export;
};

void nbdc_begin(struct nbdc *client);

/*
 * @bytes: client->wanted_bytes of them. Returns 0; or, and the connection is to be
 * closed, -EPROTO: not what the protocol allows; -EOPNOTSUPP: a server without
 * NBD_OPT_GO, or with blocks that no disk has; -ENOENT: no such export;
 * -EACCES: TLS is wanted, or the server's policy refuses; -ESHUTDOWN: the server
 * is stopping; -EIO: another error.
 */
int MUST_CHECK nbdc_feed(struct nbdc *client, const uint8_t *bytes);

/*
 * What is sent once the greeting has been fed: the client's flags and NBD_OPT_GO for
 * @name (at most EXPORT_NAME_BYTES_MAX), asking for the block size. Returns how many.
 */
size_t nbdc_encode_go(const char *name, uint8_t ret_bytes[NBDC_GO_BYTES_MAX]);

#endif
