/* SPDX-License-Identifier: MIT */
/* What a key is wanted for: see key_wanted.h. */
#include "keys/key_wanted.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct key_wanted key_wanted_of(const uint8_t uuid[SEAL_UUID_BYTES],
				const struct seal_keyring *ring)
{
	struct key_wanted wanted = { .has_uuid = true };

	memcpy(wanted.uuid, uuid, sizeof(wanted.uuid));
	for (unsigned int i = 0; ring && i < KEY_SLOTS_MAX; i++)
		if (ring->slots[i].kind == SEAL_KEK_RAW)
			wanted.key_ids[wanted.nr_key_ids++] = le64_get(ring->slots[i].key_id);
	return wanted;
}

size_t key_wanted_line(const struct key_wanted *wanted, char ret_line[KEY_WANTED_LINE_BYTES])
{
	const size_t room = KEY_WANTED_LINE_BYTES;
	char uuid[UUID_TEXT_BYTES];
	size_t used = (size_t)snprintf(ret_line, room, "sealblk-key-1 purpose=%s",
				       wanted->is_new ? "new" : "open");

	uuid_to_text(wanted->uuid, uuid);
	if (wanted->has_uuid)
		used += (size_t)snprintf(ret_line + used, room - used, " image=%s", uuid);
	for (uint32_t i = 0; !wanted->is_new && i < wanted->nr_key_ids; i++)
		used += (size_t)snprintf(ret_line + used, room - used, "%s%" PRIu64,
					 i == 0 ? " key-ids=" : ",", wanted->key_ids[i]);
	used += (size_t)snprintf(ret_line + used, room - used, "\n");
	return used;
}
