/* SPDX-License-Identifier: MIT */
/* Names and identities of devices: see attachment.h. */
#include "control/attachment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char prefix[] = "sealblk-";
static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool attachment_name_is_good(const char *name)
{
	const size_t length = strlen(name);

	return length > 0 && length <= ATTACH_NAME_BYTES_MAX && name[0] != '.' && name[0] != '-' &&
	       strspn(name, good) == length;
}

int attachment_default_name(const char *path, char ret_name[ATTACH_NAME_BYTES_MAX + 1])
{
	const char *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;
	const char *dot = strrchr(file, '.');
	const size_t length = dot ? (size_t)(dot - file) : strlen(file);
	char name[ATTACH_NAME_BYTES_MAX + 1] = "";

	if (length >= sizeof(name))
		return -EINVAL;
	memcpy(name, file, length);
	if (!attachment_name_is_good(name))
		return -EINVAL;
	memcpy(ret_name, name, sizeof(name));
	return 0;
}

void attachment_encode(const struct attachment *attachment, char ret_text[ATTACH_IDENTITY_BYTES])
{
	snprintf(ret_text, ATTACH_IDENTITY_BYTES, "%s%s:%s", prefix, attachment->uuid,
		 attachment->name);
}

static bool is_uuid(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == '-' ? text[i] != '-'
				    : !text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	return true;
}

int attachment_decode(const char *text, struct attachment *ret_attachment)
{
	struct attachment found = { 0 };
	const char *uuid = text + sizeof(prefix) - 1, *name;
	size_t name_bytes;

	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0 || !is_uuid(uuid) ||
	    uuid[UUID_TEXT_BYTES - 1] != ':')
		return -EINVAL;
	name = uuid + UUID_TEXT_BYTES;
	name_bytes = strcspn(name, "\n");
	if (name_bytes >= sizeof(found.name) || name[name_bytes + (name[name_bytes] != 0)])
		return -EINVAL;
	memcpy(found.uuid, uuid, UUID_TEXT_BYTES - 1);
	memcpy(found.name, name, name_bytes);
	if (!attachment_name_is_good(found.name))
		return -EINVAL;
	*ret_attachment = found;
	return 0;
}
