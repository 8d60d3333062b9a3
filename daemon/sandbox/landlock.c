/* SPDX-License-Identifier: MIT */
/*
 * Landlock: see layers.h. The three system calls are made by number, as glibc has no
 * functions for them, and the struct is ours: it is longer than that of older headers,
 * and the kernel takes as much of it as it knows.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/layers.h"

/* Since which version what may be forbidden. */
enum {
	VERSION_REFER = 2,    /* moving files between folders */
	VERSION_TRUNCATE = 3, /* truncate(2); ours are never shortened */
	VERSION_NET = 4,      /* TCP: bind, connect */
	VERSION_IOCTL = 5,    /* of devices */
	VERSION_SCOPE = 6,    /* abstract unix sockets and signals of others */
};

#define ACCESS_FIRST	(LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1) /* all of version 1 */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)
#define ACCESS_IOCTL	(UINT64_C(1) << 15)
#define NET_ALL		(UINT64_C(3))
#define SCOPE_ALL	(UINT64_C(3))

struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

/* What is done in the runtime directory; see image/runtime.c. */
#define FOLDER_ACCESS                                                   \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	 LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |    \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE)

static int find_version(void)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return version < 0 ? 0 : (int)version;
}

/* Everything that this version can forbid. */
static int make_ruleset(int version)
{
	struct ruleset all = { .handled_access_fs = ACCESS_FIRST };
	size_t nr_bytes = sizeof(all.handled_access_fs);

	if (version >= VERSION_REFER)
		all.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= VERSION_TRUNCATE)
		all.handled_access_fs |= ACCESS_TRUNCATE;
	if (version >= VERSION_IOCTL)
		all.handled_access_fs |= ACCESS_IOCTL;
	if (version >= VERSION_NET) {
		all.handled_access_net = NET_ALL;
		nr_bytes += sizeof(all.handled_access_net);
	}
	if (version >= VERSION_SCOPE) {
		all.scoped = SCOPE_ALL;
		nr_bytes += sizeof(all.scoped);
	}
	return (int)syscall(SYS_landlock_create_ruleset, &all, nr_bytes, 0);
}

static int allow(int ruleset, const char *folder, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int allow_all(int ruleset, const struct sandbox_plan *plan)
{
	int r = allow(ruleset, plan->folder, FOLDER_ACCESS);

	for (unsigned int i = 0; i < plan->nr_sockets && r == 0; i++) {
		const size_t nr_bytes = strlen(plan->sockets[i]) + 1;
		char folder[PATH_BYTES_MAX];

		if (nr_bytes > sizeof(folder))
			return -ENAMETOOLONG;
		memcpy(folder, plan->sockets[i], nr_bytes);
		r = allow(ruleset, dirname(folder), LANDLOCK_ACCESS_FS_REMOVE_FILE);
	}
	return r;
}

int landlock_enter(const struct sandbox_plan *plan, int *ret_version)
{
	int version = find_version();
	int ruleset, r;

	*ret_version = version;
	if (version == 0)
		return 0;
	ruleset = make_ruleset(version);
	if (ruleset < 0)
		return -errno;
	r = allow_all(ruleset, plan);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	close(ruleset);
	return r;
}
