/* SPDX-License-Identifier: MIT */
/* A UUID as text: see uuid.h. */
#include "base/uuid.h"

void uuid_to_text(const uint8_t uuid[SEAL_UUID_BYTES], char ret_text[UUID_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *at = ret_text;

	for (int i = 0; i < SEAL_UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[uuid[i] >> 4];
		*at++ = digits[uuid[i] & 15];
	}
	*at = '\0';
}
