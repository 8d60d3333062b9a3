/* SPDX-License-Identifier: MIT */
/* A base's identity as name/value records: see base_identity.h. */
#include "image/base_identity.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
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
	size_t offset; /* in its struct */
	size_t bytes;
};

#define FIELD_OF(type, name, kind, member)                                                    \
	{                                                                                     \
		name, kind, offsetof(struct type, member), sizeof(((struct type *)0)->member) \
	}
#define FIELD(name, kind, member)	 FIELD_OF(base_identity, name, kind, member)
#define PARENT_FIELD(name, kind, member) FIELD_OF(base_parent_identity, name, kind, member)

/* The format comes first: it says which fields of its own follow. */
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

static const struct field vhdx_fields[] = {
	FIELD("base.vhdx_disk_id", FIELD_BYTES, vhdx_disk_id),
	FIELD("base.vhdx_data_write_id", FIELD_BYTES, vhdx_data_write_id),
};

static const struct field owned_field = FIELD("base.owned_footer", FIELD_BYTES, owned_footer);

/* Behind "base.parent.N.". The first one tells whether there is such a parent. */
static const struct field parent_fields[] = {
	PARENT_FIELD("vhd_uuid", FIELD_BYTES, vhd_uuid),
	PARENT_FIELD("vhd_timestamp", FIELD_U32, vhd_timestamp_s),
	PARENT_FIELD("file_bytes", FIELD_U64, file_bytes),
	PARENT_FIELD("digest_kind", FIELD_DIGEST_KIND, digest_kind),
	PARENT_FIELD("digest", FIELD_BYTES, digest),
};

static const struct field vhdx_parent_fields[] = {
	PARENT_FIELD("vhdx_disk_id", FIELD_BYTES, vhdx_disk_id),
	PARENT_FIELD("vhdx_data_write_id", FIELD_BYTES, vhdx_data_write_id),
	PARENT_FIELD("file_bytes", FIELD_U64, file_bytes),
	PARENT_FIELD("digest_kind", FIELD_DIGEST_KIND, digest_kind),
	PARENT_FIELD("digest", FIELD_BYTES, digest),
};

/* What a format has beside the fields that all have. */
static const struct {
	const struct field *fields;
	size_t nr_fields;
	const struct field *parent_fields;
	size_t nr_parent_fields; /* 0: it has no parents */
} format_fields[BASE_FORMATS] = {
	[BASE_VHD] = { vhd_fields, ARRAY_LEN(vhd_fields), parent_fields, ARRAY_LEN(parent_fields) },
	[BASE_VHDX] = { vhdx_fields, ARRAY_LEN(vhdx_fields), vhdx_parent_fields,
			ARRAY_LEN(vhdx_parent_fields) },
};

enum { PARENT_NAME_BYTES = 64 };

/* @number: from 1 on. */
static const char *parent_name(unsigned int number, const struct field *field,
			       char text[PARENT_NAME_BYTES])
{
	snprintf(text, PARENT_NAME_BYTES, "base.parent.%u.%s", number, field->name);
	return text;
}

static const char *const digest_kind_names[BASE_DIGEST_KINDS] = {
	[BASE_DIGEST_FULL] = "sha256-full",
	[BASE_DIGEST_SAMPLED] = "sha256-sampled",
};

static int append_string(struct seal_names *names, const char *name, const char *value)
{
	return names_append(names, name, value, strlen(value));
}

/* @of: the struct that has the field. @name: of the record. */
static int encode_field(const void *of, const struct field *field, const char *name,
			struct seal_names *names)
{
	const uint8_t *at = (const uint8_t *)of + field->offset;
	enum base_format format;
	enum base_digest_kind digest_kind;
	uint64_t u64;
	uint32_t u32;
	le64 u64_bytes;
	le32 u32_bytes;

	switch (field->kind) {
	case FIELD_STRING:
		return append_string(names, name, (const char *)at);
	case FIELD_BYTES:
		return names_append(names, name, at, field->bytes);
	case FIELD_U64:
		memcpy(&u64, at, sizeof(u64));
		u64_bytes = le64_of(u64);
		return names_append(names, name, &u64_bytes, sizeof(u64_bytes));
	case FIELD_U32:
		memcpy(&u32, at, sizeof(u32));
		u32_bytes = le32_of(u32);
		return names_append(names, name, &u32_bytes, sizeof(u32_bytes));
	case FIELD_FORMAT:
		memcpy(&format, at, sizeof(format));
		return append_string(names, name, base_format_name(format));
	case FIELD_DIGEST_KIND:
		memcpy(&digest_kind, at, sizeof(digest_kind));
		return append_string(names, name, digest_kind_names[digest_kind]);
	}
	return -EINVAL;
}

static int encode_fields(const struct base_identity *identity, const struct field *list,
			 size_t nr_fields, struct seal_names *names)
{
	for (size_t i = 0; i < nr_fields; i++) {
		int rc = encode_field(identity, &list[i], list[i].name, names);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int encode_parent(const struct base_identity *identity, unsigned int number,
			 struct seal_names *names)
{
	const struct field *list = format_fields[identity->format].parent_fields;
	char name[PARENT_NAME_BYTES];
	int rc = 0;

	for (size_t i = 0; i < format_fields[identity->format].nr_parent_fields && rc == 0; i++)
		rc = encode_field(&identity->parents[number - 1], &list[i],
				  parent_name(number, &list[i], name), names);
	return rc;
}

int base_identity_encode(const struct base_identity *identity, struct seal_names *names)
{
	int rc;

	rc = encode_fields(identity, fields, ARRAY_LEN(fields), names);
	if (rc == 0)
		rc = encode_fields(identity, format_fields[identity->format].fields,
				   format_fields[identity->format].nr_fields, names);
	if (rc == 0 && identity->owned && identity->format == BASE_VHD)
		rc = encode_fields(identity, &owned_field, 1, names);
	for (unsigned int number = 1; number <= identity->nr_parents && rc == 0; number++)
		rc = encode_parent(identity, number, names);
	return rc;
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

static int decode_format(const struct cursor *value, void *ret_format)
{
	for (unsigned int i = BASE_RAW; i < BASE_FORMATS; i++) {
		const enum base_format format = (enum base_format)i;

		if (value_is(value, base_format_name(format))) {
			memcpy(ret_format, &format, sizeof(format));
			return 0;
		}
	}
	return -EBADMSG;
}

static int decode_digest_kind(const struct cursor *value, void *ret_kind)
{
	for (unsigned int i = 0; i < BASE_DIGEST_KINDS; i++) {
		const enum base_digest_kind kind = (enum base_digest_kind)i;

		if (value_is(value, digest_kind_names[i])) {
			memcpy(ret_kind, &kind, sizeof(kind));
			return 0;
		}
	}
	return -EBADMSG;
}

/* @of, @name: as encode_field(). */
static int decode_field(const struct seal_names *names, const struct field *field, const char *name,
			void *of)
{
	uint8_t *at = (uint8_t *)of + field->offset;
	const uint8_t *bytes;
	struct cursor value;
	size_t nr_bytes;

	if (names_find(names, name, &bytes, &nr_bytes) < 0)
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
		return decode_format(&value, at);
	case FIELD_DIGEST_KIND:
		return decode_digest_kind(&value, at);
	}
	return -EBADMSG;
}

static int decode_fields(const struct seal_names *names, const struct field *list, size_t nr_fields,
			 struct base_identity *identity)
{
	for (size_t i = 0; i < nr_fields; i++) {
		int rc = decode_field(names, &list[i], list[i].name, identity);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* There are no 2048 samples in a small file. */
static int check_kind(enum base_digest_kind kind, uint64_t file_bytes)
{
	return kind == BASE_DIGEST_SAMPLED && file_bytes <= BASE_SAMPLED_ABOVE_BYTES ? -EBADMSG : 0;
}

static bool has_parent(const struct seal_names *names, enum base_format format, unsigned int number)
{
	char name[PARENT_NAME_BYTES];
	const uint8_t *value;
	size_t value_bytes;

	return format_fields[format].nr_parent_fields > 0 &&
	       names_find(names, parent_name(number, &format_fields[format].parent_fields[0], name),
			  &value, &value_bytes) == 0;
}

static int decode_parent(const struct seal_names *names, enum base_format format,
			 unsigned int number, struct base_parent_identity *parent)
{
	const struct field *list = format_fields[format].parent_fields;
	char name[PARENT_NAME_BYTES];
	int rc = 0;

	for (size_t i = 0; i < format_fields[format].nr_parent_fields && rc == 0; i++)
		rc = decode_field(names, &list[i], parent_name(number, &list[i], name), parent);
	return rc < 0 ? rc : check_kind(parent->digest_kind, parent->file_bytes);
}

/* They are numbered from 1 on, without a gap. */
static int decode_parents(const struct seal_names *names, struct base_identity *identity)
{
	int rc = 0;

	while (rc == 0 && has_parent(names, identity->format, identity->nr_parents + 1)) {
		if (identity->nr_parents == ARRAY_LEN(identity->parents))
			return -EBADMSG;
		rc = decode_parent(names, identity->format, identity->nr_parents + 1,
				   &identity->parents[identity->nr_parents]);
		identity->nr_parents++;
	}
	return rc;
}

/* It has the mark, and no disk in pieces: that one's data would be punched in the wrong place. */
static int decode_owned(const struct seal_names *names, struct base_identity *identity)
{
	struct vhd_problem problem;
	const uint8_t *value;
	struct vhd_info info;
	size_t value_bytes;

	if (names_find(names, owned_field.name, &value, &value_bytes) < 0)
		return 0;
	identity->owned = true;
	if (identity->format != BASE_VHD || decode_fields(names, &owned_field, 1, identity) < 0 ||
	    !vhd_footer_is_owned(identity->owned_footer) ||
	    vhd_footer_parse(identity->owned_footer, &info, &problem) < 0 ||
	    info.disk_type != VHD_FIXED)
		return -EBADMSG;
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
	if (rc == 0)
		rc = decode_fields(names, format_fields[identity.format].fields,
				   format_fields[identity.format].nr_fields, &identity);
	if (rc == 0)
		rc = check_kind(identity.digest_kind, identity.file_bytes);
	if (rc == 0)
		rc = decode_owned(names, &identity);
	if (rc == 0)
		rc = decode_parents(names, &identity);
	if (rc < 0)
		return rc;
	*ret_identity = identity;
	return 0;
}
