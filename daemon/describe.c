/* SPDX-License-Identifier: MIT */
/* Descriptions of exports: see describe.h. */
#include "describe.h"

#include <stdio.h>

#include "control/size_text.h"

/* Both of them are made once, so that a switch has only to point to the other. */
static void make_texts(struct server *server, unsigned int number)
{
	const struct image *image = server->images[number];
	const char *wanted = server->account->exports[number].description;
	char size[SIZE_TEXT_BYTES];

	size_text(sectors_to_bytes(image->disk.nr_sectors), size);
	for (int on = 0; on < 2; on++) {
		char *text = server->descriptions[number][on];
		const size_t text_bytes = sizeof(server->descriptions[number][on]);

		if (wanted[0])
			snprintf(text, text_bytes, "%s", wanted);
		else
			snprintf(text, text_bytes, "%s%s, encryption %s%s", size,
				 image->super.has_base ? " over a base" : "", on ? "on" : "off",
				 server->options->read_only ? ", read-only" : "");
	}
}

void server_describe(struct server *server, unsigned int number)
{
	make_texts(server, number);
	server_describe_again(server, server->images[number]);
}

void server_describe_again(struct server *server, const struct image *image)
{
	const bool on = image->super.encryption_enabled;

	for (unsigned int i = 0; i < server->nr_exports; i++)
		if (server->images[i] == image)
			server->exports[i].description = server->descriptions[i][on];
}
