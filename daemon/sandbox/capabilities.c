/* SPDX-License-Identifier: MIT */
/* Capabilities: see layers.h. Two system calls do not need a library. */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/layers.h"

/* Those that the running kernel has; it may know more than our headers. */
static bool exists(unsigned int number)
{
	return prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0;
}

/* Takes CAP_SETPCAP. Without, a program that is run could not gain any either: no_new_privs. */
static void drop_bounding(uint64_t kept)
{
	for (unsigned int i = 0; i < 64 && exists(i); i++)
		if (!(kept >> i & 1))
			(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

static uint64_t held(const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

static bool holds_none(const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
	return held(data) == 0 && data[0].inheritable == 0 && data[1].inheritable == 0;
}

int capabilities_drop(uint64_t kept)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	/* A service manager may have seen to it, and forbidden the call. */
	if (holds_none(data))
		return 0;
	kept &= held(data);
	drop_bounding(kept);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	for (unsigned int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted = (uint32_t)(kept >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}
