/* SPDX-License-Identifier: MIT */
/*
 * What the daemon serves and which encryption that is to have: the command line
 * and the policy file together (docs/policy.md).
 *
 * account_read() -> the images are opened -> account_apply_first() -> workers;
 * at a SIGHUP: account_read() -> server_switch() of the images that differ.
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <jansson.h>
#include <stdint.h>

#include "base/compiler.h"
#include "control/policy.h"
#include "image/problem.h"
#include "keys/helper.h"
#include "options.h"

struct server;

/* The exports: of the command line, of the policy's directory, of its list. */
struct account {
	enum policy_wish encryption; /* of the policy as a whole */
	uint64_t read_s;	     /* when; 0: there is no policy */
	unsigned int nr_exports;
	struct export_option exports[EXPORTS_MAX]; /* their image is malloc'ed */
	enum policy_wish wishes[EXPORTS_MAX];	   /* by export */
};

/*
 * Read the policy that @options names, if any, by @helper, and put the list
 * together; of the images' files only their folder is looked at. Main thread;
 * blocks. Returns 0 (account_free() it), or a negative errno with *problem, and
 * nothing has been logged.
 */
int MUST_CHECK account_read(const struct options *options, struct helper *helper,
			    struct account **ret_account, struct problem *problem);

/* Accepts NULL; always returns NULL. */
struct account *account_free(struct account *account);

/*
 * Give every open image the encryption that server->account wants, before any
 * worker runs. Logs what it changes. Returns 0, or as image_switch() with *problem.
 */
int MUST_CHECK account_apply_first(struct server *server, struct problem *problem);

/*
 * Read the policy again and switch, live, the images that are not as it says.
 * Main thread, while the workers run; blocks. What is wrong is logged in one
 * line, and the policy in force stays. Exports that have come or gone are for the
 * next start: this is logged, and the rest is done.
 */
void account_reload(struct server *server);

/*
 * The answer to {"verb":"policy"}, with server->changes held: what the policy
 * says and what of each export is so. The caller's reference; NULL: no memory.
 */
json_t *account_json(const struct server *server);

#endif
