/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the client's side of the handshake under any server, and identities of
 * devices. Input: what the server sends, and, as a text, what the kernel keeps. Every
 * piece is in memory of exactly its size, so that a read past it is caught.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "control/attachment.h"
#include "nbd/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes);

static void shake_hands(const uint8_t *bytes, size_t nr_bytes)
{
	struct nbdc client;
	int r = 0;

	nbdc_begin(&client);
	while (r == 0 && client.wanted_bytes > 0 && client.wanted_bytes <= nr_bytes) {
		const size_t wanted = client.wanted_bytes;
		uint8_t *piece = malloc(wanted);

		assert(piece && wanted <= NBDC_FEED_BYTES_MAX);
		memcpy(piece, bytes, wanted);
		r = nbdc_feed(&client, piece);
		free(piece);
		bytes += wanted;
		nr_bytes -= wanted;
	}
	if (r == 0 && client.wanted_bytes == 0)
		assert(client.export.minimum_bytes >= 512 &&
		       client.export.bytes % client.export.minimum_bytes == 0);
}

static void decode(const uint8_t *bytes, size_t nr_bytes)
{
	char *text = malloc(nr_bytes + 1), again[ATTACH_IDENTITY_BYTES];
	struct attachment attachment;

	assert(text);
	memcpy(text, bytes, nr_bytes);
	text[nr_bytes] = 0;
	if (attachment_decode(text, &attachment) == 0) {
		attachment_encode(&attachment, again);
		assert(strncmp(text, again, strlen(again)) == 0);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	shake_hands(bytes, nr_bytes);
	decode(bytes, nr_bytes);
	return 0;
}
