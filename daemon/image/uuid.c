/* SPDX-License-Identifier: MIT */
/* New UUIDs: see uuid.h. */
#include "image/uuid.h"

#include "crypt/wrap.h"

int uuid_make(uint8_t ret_uuid[SEAL_UUID_BYTES])
{
	int r = random_public(ret_uuid, SEAL_UUID_BYTES);

	if (r < 0)
		return r;
	ret_uuid[6] = (uint8_t)((ret_uuid[6] & 0x0f) | 0x40);
	ret_uuid[8] = (uint8_t)((ret_uuid[8] & 0x3f) | 0x80);
	return 0;
}
