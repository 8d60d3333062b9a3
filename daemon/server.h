/* SPDX-License-Identifier: MIT */
/*
 * The server: images, exports, listening sockets and workers of one daemon.
 * Set up by the main thread before any worker runs, frozen from then on, except
 * what is marked atomic.
 */
#ifndef SERVER_H
#define SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "account.h"
#include "base/compiler.h"
#include "control/events.h"
#include "control/server.h"
#include "image/image.h"
#include "image/runtime.h"
#include "keys/helper.h"
#include "nbd/session.h"
#include "net/listen.h"
#include "options.h"
#include "ring/trace.h"

struct dm_device;
struct worker;

struct tls_context;

struct server {
	const struct options *options;
	struct helper helper;
	struct runtime runtime;
	uint8_t boot_id[SEAL_UUID_BYTES];
	const struct xts_ops *xts;
	int (*new_ring)(unsigned int entries, struct ring **ret_ring); /* the workers' engine */
	unsigned int ring_entries;				       /* for it */
	struct ring *ring;   /* opening and closing; in between under @changes */
	struct trace *trace; /* of all rings; NULL: no --trace */

	/* Its exports are frozen before any worker runs; the rest is under @changes. */
	struct account *account;
	unsigned int nr_exports; /* of those, that are open: all of them, once started */
	struct nbds_export exports[EXPORTS_MAX]; /* frozen, but for the description */
	char descriptions[EXPORTS_MAX][2]
			 [EXPORT_DESCRIPTION_BYTES_MAX + 1]; /* encryption off, on */
	struct image *images[EXPORTS_MAX];		     /* by export */
	struct lane **lanes[EXPORTS_MAX];		     /* of each image, by worker */
	int uuid_locks[EXPORTS_MAX];

	/*
	 * While the workers run: held by whoever changes an image's superblock or
	 * keyring, or uses its own ring and lane. Any thread but a worker.
	 */
	pthread_mutex_t changes;
	struct control_events events; /* any thread may publish */
	struct control_actions actions;
	struct control *control;

	struct dm_device *dms; /* options->nr_dms */
	unsigned int nr_dms;   /* of those, that are open */

	struct tls_context *tls; /* NULL: none; main thread: workers have their own reference */
	bool kernel_tls;	 /* there is, for TCP */
	unsigned int nr_listeners;
	struct listener listeners[LISTENERS_MAX];
	json_t *unix_sockets; /* paths of those that are unix sockets; under @changes */

	unsigned int nr_workers; /* that serve clients; one more works in the background */
	unsigned int nr_threads; /* all of them */
	struct worker *workers;
	bool failure_told[EXPORTS_MAX];	  /* by the worker that ticks its image */
	_Atomic bool stopping;		  /* no new connections; finish what is under way */
	_Atomic unsigned int nr_drained;  /* workers without connections, while stopping */
	_Atomic unsigned int next_worker; /* for the next connection */
	_Atomic unsigned int next_conn_id;
};

/*
 * Open the images, listen, start the workers. Says what failed. Returns 0 or
 * the exit code; server_stop() is due in either case.
 */
int MUST_CHECK server_start(struct server *server, const struct options *options);

/* Finish requests, close the images cleanly. Returns the exit code. */
int MUST_CHECK server_stop(struct server *server);

/* No commit round and no sweep under way on any image? Any thread. */
bool server_is_quiet(const struct server *server);

#endif
