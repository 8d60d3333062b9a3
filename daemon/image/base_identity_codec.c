/* SPDX-License-Identifier: MIT */
/* A base's identity as name/value records: see base_identity.h. */
#include "image/base_identity.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cursor.h"
#include "image/names.h"

enum field_kind {
	FIELD_STRING, /* char[PATH_BYTES_MAX] */
	FIELD_BYTES,
	FIELD_U64,
	FIELD_U32,
	FIELD_FORMAT,
	FIELD_DIGEST_KIND,
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset; /* in struct base_identity */
	size_t bytes;
};

#define FIELD(name, kind, member)                                   \
	{                                                           \
		name, kind, offsetof(struct base_identity, member), \
			sizeof(((struct base_identity *)0)->member) \
	}

/* The format comes first: it says whether the fields of VHDs follow. */
static const struct field fields[] = {
	FIELD("base.format", FIELD_FORMAT, format),
	FIELD("base.path", FIELD_STRING, path),
	FIELD("base.path_absolute", FIELD_STRING, path_absolute),
	FIELD("base.path_relative", FIELD_STRING, path_relative),
	FIELD("base.file_bytes", FIELD_U64, file_bytes),
	FIELD("base.disk_bytes", FIELD_U64, disk_bytes),
	FIELD("base.digest_kind", FIELD_DIGEST_KIND, digest_kind),
	FIELD("base.digest", FIELD_BYTES, digest),
	FIELD("base.mtime_ns", FIELD_U64, mtime_ns),
	FIELD("base.inode", FIELD_U64, inode),
};

static const struct field vhd_fields[] = {
	FIELD("base.vhd_uuid", FIELD_BYTES, vhd_uuid),
	FIELD("base.vhd_timestamp", FIELD_U32, vhd_timestamp_s),
	FIELD("base.footer", FIELD_BYTES, footer),
};

static const char *const digest_kind_names[BASE_DIGEST_KINDS] = {
	[BASE_DIGEST_FULL] = "sha256-full",
	[BASE_DIGEST_SAMPLED] = "sha256-sampled",
};

static int append_string(struct seal_names *names, const char *name, const char *value)
{
	return names_append(names, name, value, strlen(value));
}

static int encode_field(const struct base_identity *identity, const struct field *field,
			struct seal_names *names)
{
	const uint8_t *at = (const uint8_t *)identity + field->offset;
	uint64_t u64;
	uint32_t u32;
	le64 u64_bytes;
	le32 u32_bytes;

	switch (field->kind) {
	case FIELD_STRING:
		return append_string(names, field->name, (const char *)at);
	case FIELD_BYTES:
		return names_append(names, field->name, at, field->bytes);
	case FIELD_U64:
		memcpy(&u64, at, sizeof(u64));
		u64_bytes = le64_of(u64);
		return names_append(names, field->name, &u64_bytes, sizeof(u64_bytes));
	case FIELD_U32:
		memcpy(&u32, at, sizeof(u32));
		u32_bytes = le32_of(u32);
		return names_append(names, field->name, &u32_bytes, sizeof(u32_bytes));
	case FIELD_FORMAT:
		return append_string(names, field->name, base_format_name(identity->format));
	case FIELD_DIGEST_KIND:
		return append_string(names, field->name, digest_kind_names[identity->digest_kind]);
	}
	return -EINVAL;
}

static int encode_fields(const struct base_identity *identity, const struct field *list,
			 size_t nr_fields, struct seal_names *names)
{
	for (size_t i = 0; i < nr_fields; i++) {
		int rc = encode_field(identity, &list[i], names);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int base_identity_encode(const struct base_identity *identity, struct seal_names *names)
{
	int rc;

	rc = encode_fields(identity, fields, ARRAY_LEN(fields), names);
	if (rc < 0 || identity->format != BASE_VHD)
		return rc;
	return encode_fields(identity, vhd_fields, ARRAY_LEN(vhd_fields), names);
}

/* A value read by cursor: all of it, or the record is unsound. */
static int all_was_read(const struct cursor *value)
{
	return value->overrun || value->left_bytes > 0 ? -EBADMSG : 0;
}

static bool value_is(const struct cursor *value, const char *text)
{
	return value->left_bytes == strlen(text) && memcmp(value->at, text, strlen(text)) == 0;
}

static int decode_string(const struct cursor *value, char ret_text[PATH_BYTES_MAX])
{
	if (value->left_bytes == 0 || value->left_bytes >= PATH_BYTES_MAX ||
	    memchr(value->at, 0, value->left_bytes))
		return -EBADMSG;
	memcpy(ret_text, value->at, value->left_bytes);
	ret_text[value->left_bytes] = 0;
	return 0;
}

static int decode_bytes(const struct cursor *value, void *ret_bytes, size_t nr_bytes)
{
	if (value->left_bytes != nr_bytes)
		return -EBADMSG;
	memcpy(ret_bytes, value->at, nr_bytes);
	return 0;
}

static int decode_u64(struct cursor *value, void *ret_u64)
{
	uint64_t number = cursor_le64(value);

	memcpy(ret_u64, &number, sizeof(number));
	return all_was_read(value);
}

static int decode_u32(struct cursor *value, void *ret_u32)
{
	uint32_t number = cursor_le32(value);

	memcpy(ret_u32, &number, sizeof(number));
	return all_was_read(value);
}

static int decode_format(const struct cursor *value, enum base_format *ret_format)
{
	for (unsigned int i = BASE_RAW; i < BASE_FORMATS; i++) {
		if (value_is(value, base_format_name((enum base_format)i))) {
			*ret_format = (enum base_format)i;
			return 0;
		}
	}
	return -EBADMSG;
}

static int decode_digest_kind(const struct cursor *value, enum base_digest_kind *ret_kind)
{
	for (unsigned int i = 0; i < BASE_DIGEST_KINDS; i++) {
		if (value_is(value, digest_kind_names[i])) {
			*ret_kind = (enum base_digest_kind)i;
			return 0;
		}
	}
	return -EBADMSG;
}

static int decode_field(const struct seal_names *names, const struct field *field,
			struct base_identity *identity)
{
	uint8_t *at = (uint8_t *)identity + field->offset;
	const uint8_t *bytes;
	struct cursor value;
	size_t nr_bytes;

	if (names_find(names, field->name, &bytes, &nr_bytes) < 0)
		return -EBADMSG;
	value = cursor_of(bytes, nr_bytes);

	switch (field->kind) {
	case FIELD_STRING:
		return decode_string(&value, (char *)at);
	case FIELD_BYTES:
		return decode_bytes(&value, at, field->bytes);
	case FIELD_U64:
		return decode_u64(&value, at);
	case FIELD_U32:
		return decode_u32(&value, at);
	case FIELD_FORMAT:
		return decode_format(&value, &identity->format);
	case FIELD_DIGEST_KIND:
		return decode_digest_kind(&value, &identity->digest_kind);
	}
	return -EBADMSG;
}

static int decode_fields(const struct seal_names *names, const struct field *list, size_t nr_fields,
			 struct base_identity *identity)
{
	for (size_t i = 0; i < nr_fields; i++) {
		int rc = decode_field(names, &list[i], identity);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int base_identity_decode(const struct seal_names *names, struct base_identity *ret_identity)
{
	struct base_identity identity = { 0 };
	const uint8_t *format;
	size_t format_bytes;
	int rc;

	rc = names_find(names, "base.format", &format, &format_bytes);
	if (rc < 0)
		return rc;
	rc = decode_fields(names, fields, ARRAY_LEN(fields), &identity);
	if (rc == 0 && identity.format == BASE_VHD)
		rc = decode_fields(names, vhd_fields, ARRAY_LEN(vhd_fields), &identity);
	if (rc < 0)
		return rc;
	/* There are no 2048 samples in a small file. */
	if (identity.digest_kind == BASE_DIGEST_SAMPLED &&
	    identity.file_bytes <= BASE_SAMPLED_ABOVE_BYTES)
		return -EBADMSG;

	*ret_identity = identity;
	return 0;
}
