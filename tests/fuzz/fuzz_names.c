/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the name/value area, and what it says of a base. Input: the
 * header and the records. The CRC is made right.
 */
#include "fuzz.h"

#include "image/base_identity.h"
#include "image/names.h"

static void walk(const struct seal_names *names)
{
	const uint8_t *const end = names->records + sizeof(names->records);
	struct cursor next = names_first(names);
	struct names_record record;
	unsigned int nr = 0;

	while (names_next(&next, &record)) {
		nr++;
		assert(record.name_bytes > 0 && record.name_bytes <= NAMES_NAME_BYTES_MAX);
		assert((const uint8_t *)record.name >= names->records &&
		       (const uint8_t *)record.name + record.name_bytes <= record.value &&
		       record.value + record.value_bytes <= end);
	}
	assert(nr <= NAMES_RECORDS_MAX);
}

static void expect_ended(const char *path)
{
	assert(memchr(path, 0, PATH_BYTES_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	static struct base_identity identity;
	static struct seal_names names;

	fuzz_fill(&names, sizeof(names), bytes, nr_bytes);
	memcpy(names.magic, SEAL_MAGIC_NAMES, sizeof(names.magic));
	fuzz_mend_crc(&names, sizeof(names), &names.crc);
	if (names_check(&names, names.uuid) < 0)
		return 0;
	walk(&names);
	if (base_identity_decode(&names, &identity) < 0)
		return 0;
	assert(identity.nr_parents < BASE_LAYERS_MAX);
	expect_ended(identity.path);
	expect_ended(identity.path_absolute);
	expect_ended(identity.path_relative);
	return 0;
}
