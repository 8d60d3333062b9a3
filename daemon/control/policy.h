/* SPDX-License-Identifier: MIT */
/*
 * The policy file of a daemon (`sealblkd --policy FILE`), the account-level
 * switch: see docs/policy.md. This is what it says; what follows from that is
 * account.h's business.
 */
#ifndef CONTROL_POLICY_H
#define CONTROL_POLICY_H

#include <stddef.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "sealblk/limits.h"

enum policy_wish {
	POLICY_UNSAID, /* the image stays as it is */
	POLICY_ON,
	POLICY_OFF,
};

struct policy_export {
	char name[EXPORT_NAME_BYTES_MAX + 1];
	char image[PATH_BYTES_MAX]; /* absolute; "": of an export that is listed elsewhere */
	enum policy_wish encryption;
	char description[EXPORT_DESCRIPTION_BYTES_MAX + 1]; /* one line of UTF-8; "": none */
};

struct policy {
	enum policy_wish encryption;	/* of every image that has no wish of its own */
	char directory[PATH_BYTES_MAX]; /* absolute; its *.seal are exports; "": none */
	unsigned int nr_exports;
	struct policy_export *exports; /* malloc'ed */
};

/*
 * Take the @nr_bytes of @text, the content of the file @path, for a policy. No
 * file is looked at. Returns 0, or with *problem: -EINVAL: it is none, and the
 * line, or the member, says where; -ENOMEM. policy_done() is due in either case.
 */
int MUST_CHECK policy_parse(const char *text, size_t nr_bytes, const char *path,
			    struct policy *ret_policy, struct problem *problem);

/* Accepts a zeroed struct. */
void policy_done(struct policy *policy);

#endif
