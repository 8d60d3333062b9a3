/* SPDX-License-Identifier: MIT */
/* Keys of the command line: see keys.h. */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "keys/key_mem.h"
#include "keys/keyring.h"
#include "reach.h"

int tool_check_key(const struct tool_options *options, struct problem *problem)
{
	if (options->nr_key_sources == 1)
		return 0;
	tool_usage_problem(problem, options->verb, "%s",
			   options->nr_key_sources == 0 ? "wants a key: " TOOL_KEY_OPTIONS
							: "wants one key only");
	return -EINVAL;
}

int tool_check_new_key(const struct tool_options *options, struct problem *problem)
{
	if (options->nr_new_key_sources == 1)
		return 0;
	tool_usage_problem(problem, options->verb, "%s",
			   options->nr_new_key_sources == 0
				   ? "wants a new key: --new-key-file, --new-passphrase-file, "
				     "--new-credential, --new-keyring, --new-key-command or "
				     "--new-pkcs11"
				   : "wants one new key only");
	return -EINVAL;
}

/* The newer of the two that are whole. @fd may be being written meanwhile. */
static bool read_keyring(int fd, const uint8_t uuid[SEAL_UUID_BYTES], struct seal_keyring *ret_ring)
{
	static const off_t places[2] = { SEAL_KEYRING_A, SEAL_KEYRING_B };
	struct seal_keyring *ring = malloc(sizeof(*ring));
	bool found = false;

	for (int i = 0; ring && i < 2; i++) {
		if (pread(fd, ring, sizeof(*ring), places[i]) != (ssize_t)sizeof(*ring) ||
		    keyring_check(ring, uuid) < 0)
			continue;
		if (!found || le64_get(ring->generation) > le64_get(ret_ring->generation))
			*ret_ring = *ring;
		found = true;
	}
	free(ring);
	return found;
}

/* What is not known is left out: what is wrong with @image, whoever opens it says. */
static struct key_wanted wanted_of(const char *image)
{
	struct key_wanted wanted = { 0 };
	struct seal_superblock super;
	struct problem ignored;
	struct seal_keyring *ring;
	int fd;

	if (reach_read_super(image, &super, &ignored) < 0)
		return wanted;
	fd = open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ring = fd < 0 ? NULL : malloc(sizeof(*ring));
	wanted =
		key_wanted_of(super.uuid, ring && read_keyring(fd, super.uuid, ring) ? ring : NULL);
	free(ring);
	if (fd >= 0)
		close(fd);
	return wanted;
}

static int read_key(const struct key_source *source, const struct key_wanted *wanted,
		    struct key_secret **ret_secret, struct problem *problem)
{
	char why[KEY_WHY_BYTES];
	int r = key_source_read(source, wanted, ret_secret, why);

	if (r < 0)
		problem_set(problem, key_source_kind_name(source->kind), source->name, "%s", why);
	return r;
}

/*
 * A command that makes a key up each time, or prints the page of an error with the
 * time in it, would wrap what nobody ever unwraps: ask again, as will be asked.
 */
static int check_repeats(const struct key_source *source, const struct key_wanted *wanted,
			 const struct key_secret *secret, struct problem *problem)
{
	struct key_wanted again = *wanted;
	struct key_secret *second;
	bool same;
	int r;

	again.is_new = false;
	again.nr_key_ids = 0;
	r = read_key(source, &again, &second, problem);
	if (r < 0)
		return r;
	same = second->nr_bytes == secret->nr_bytes &&
	       CRYPTO_memcmp(second->bytes, secret->bytes, secret->nr_bytes) == 0;
	key_mem_free(second);
	if (same)
		return 0;
	problem_set(problem, key_source_kind_name(source->kind), source->name,
		    "prints another key when it is asked again: it would never open the image");
	return -EINVAL;
}

static int read_new_key(const struct key_source *source, struct key_wanted *wanted,
			struct key_secret **ret_secret, struct problem *problem)
{
	struct key_secret *secret;
	int r;

	wanted->is_new = true;
	r = read_key(source, wanted, &secret, problem);
	if (r < 0)
		return r;
	if (key_secret_is_weak(secret)) {
		problem_set(problem, key_source_kind_name(source->kind), source->name,
			    "is no key: all its bytes are the same");
		r = -EINVAL;
	} else if (source->kind == KEY_SOURCE_COMMAND) {
		r = check_repeats(source, wanted, secret, problem);
	}
	if (r < 0)
		key_mem_free(secret);
	else
		*ret_secret = secret;
	return r;
}

int tool_read_key(const struct key_source *source, const char *image,
		  struct key_secret **ret_secret, struct problem *problem)
{
	const struct key_wanted wanted = wanted_of(image);

	return read_key(source, &wanted, ret_secret, problem);
}

int tool_read_new_key(const struct key_source *source, const char *image,
		      struct key_secret **ret_secret, struct problem *problem)
{
	struct key_wanted wanted = wanted_of(image);

	return read_new_key(source, &wanted, ret_secret, problem);
}

int tool_read_first_key(const struct key_source *source, const uint8_t uuid[SEAL_UUID_BYTES],
			struct key_secret **ret_secret, struct problem *problem)
{
	struct key_wanted wanted = key_wanted_of(uuid, NULL);

	return read_new_key(source, &wanted, ret_secret, problem);
}
