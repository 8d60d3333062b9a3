/* SPDX-License-Identifier: MIT */
/*
 * Every limit of sealblk, in one place. Raising one may need more than the
 * number: the asserts below say what hangs on it.
 */
#ifndef SEALBLK_LIMITS_H
#define SEALBLK_LIMITS_H

#include "sealblk/units.h"

/* Disks and images. */
#define DISK_BYTES_MAX (64 * TIB) /* VHDX's limit; page blobs end at 8 TiB */
enum {
	PLANES_MAX = 14, /* map values 2..15 */
	KEY_SLOTS_MAX = 8,
	PLANE_KEYS_MAX = 32,
	MAC_KEYS_MAX = 4,
	PATH_BYTES_MAX = 4096, /* with the final NUL */
	LOCK_WAIT_MS = 5000,   /* a killed ring was seen to hold the lock for 67 ms */
};

/* Bases. */
#define VHD_DYNAMIC_DISK_BYTES_MAX (2040 * GIB) /* says the VHD specification */
#define VHDX_FILE_BYTES_MAX	   (128 * TIB)	/* twice the largest disk of a VHDX */
enum {
	BASE_LAYERS_MAX = 32,	       /* files of a chain of differencing VHDs */
	VHD_BAT_ENTRIES_MAX = 4 << 20, /* 16 MiB of memory: the largest disk in blocks of 512 KiB */
	VHDX_BLOCKS_MAX = 4 << 20,     /* 32 MiB: 64 TiB in blocks of 16 MiB, 4 TiB in those of 1 */
	VHDX_LOG_BYTES_MAX = 16 << 20, /* to be replayed, in memory; writers make them of 1 MiB */
	BASE_BOUNDS_MAX = 1 << 20,     /* of its extents, in memory: 12 MiB */
	BASE_BOUNDS_MS = 2000, /* to find them when an image is opened; cold, it may take minutes */
};

/* The name/value area of an image. */
enum {
	NAMES_RECORDS_MAX = 512,
	NAMES_NAME_BYTES_MAX = 255,
	NAMES_VALUE_BYTES_MAX = 8192, /* a path fits, and page-blob metadata */
};

/* The data path, per worker. */
enum {
	LISTENERS_MAX = 16,
	WORKERS_MAX = 64,
	WORKER_REQUESTS_MAX = 256,	/* request slots of a worker */
	WORKER_CONNS_MAX = 1024,	/* places for connections, touched as they are used */
	WORKER_BUFFER_BYTES = 64 << 20, /* payload arena, touched as it is used */
	CONN_REQUESTS_MAX = 64,		/* then we stop reading the socket */
	CONN_BYTES_MAX = WORKER_BUFFER_BYTES / 2, /* of the arena; likewise */
	CONN_LITTLE_BYTES = 2 << 20,		  /* so much of it whatever others have taken ... */
	WORKER_RESERVE_BYTES = 16 << 20,	  /* ... out of so much, that is for nothing else */
	CONN_TURN_BYTES = 256 << 10, /* READs a connection begins in a turn: what a cache holds */
	CONN_LEND_BYTES_MIN = 64 << 10,	 /* shorter requests are not worth another worker */
	CONN_TRIAL_BYTES_MIN = 16 << 20, /* in a tick: worth looking how they go fastest ... */
	CONN_TRIAL_START_TICKS = 4,	 /* ... once they have begun, ... */
	CONN_TRIAL_KEPT_TICKS = 20,	 /* ... and doing so for so long */
	CONN_STALL_MS = 10000,		 /* who stalls for so long while others starve is cut off */
	CONN_WARNINGS_MAX = 10,		 /* log lines about clients, per worker ... */
	CONN_WARNINGS_MS = 10000,	 /* ... in so long; others are counted */
	CONN_RECV_BYTES = 32 << 10,	 /* headers and small payloads */
	CONN_RECV_AHEAD_BYTES = 512,	 /* of what follows a payload longer than that */
	CONN_SEND_PARTS_MAX = 32,	 /* replies gathered into one send */
	REQ_BYTES_MAX = 32 << 20,	 /* NBD's payload limit, advertised */
	REQ_RUNS_MAX = 64,		 /* more: the range is served in rounds */
	REQ_TURN_RUNS = 4096,	    /* of the map, looked at before others have a turn: 15 GiB */
	REQ_EXTENTS_MAX = 1024,	    /* descriptors in one BLOCK_STATUS reply */
	ZERO_CHUNK_BYTES = 1 << 20, /* WRITE_ZEROES with NO_HOLE, per round */
	RING_ENTRIES = 1024,	    /* operations on files in flight per worker */
	/* And on sockets: whoever waits for his client must not keep others from the ring. */
	RING_SOCKET_ENTRIES = 2 * WORKER_CONNS_MAX + LISTENERS_MAX,
};

/* TLS. */
enum {
	TLS_BUFFER_BYTES = 64 << 10, /* of each connection, once to receive and once to send */
	TLS_NAMES_MAX = 64,	     /* --tls-allow */
	TLS_PSKS_MAX = 256,
	TLS_IDENTITY_BYTES_MAX = 128, /* RFC 4279, section 5.3: at least so many */
	TLS_PSK_BYTES_MIN = 16,
	TLS_PSK_BYTES_MAX = 64,	       /* likewise */
	TLS_FILE_BYTES_MAX = 16 << 20, /* certificates, revocation lists */
	TLS_SECRET_FILE_BYTES_MAX = 80
				    << 10, /* a private key; pre-shared keys, as many as can be */
};
_Static_assert((int)TLS_SECRET_FILE_BYTES_MAX >=
		       TLS_PSKS_MAX * (TLS_IDENTITY_BYTES_MAX + 2 * TLS_PSK_BYTES_MAX + 2),
	       "all keys fit");

/* NBD (proto.md: strings end at 4096 bytes). */
enum {
	NBD_NAME_BYTES_MAX = 4096,
	NBD_OPTION_BYTES_MAX = 12 << 10, /* longer ones are skipped and refused */
	NBD_OPTION_SKIP_MAX = 1 << 20,	 /* longer still: the connection is closed */
	NBD_OPTIONS_MAX = 64,		 /* options in one handshake */
	NBD_CONTEXTS_MAX = 2,
	EXPORTS_MAX = 1024,	     /* of a daemon */
	EXPORT_NAME_BYTES_MAX = 255, /* of our own exports */
	EXPORT_DESCRIPTION_BYTES_MAX = 255,
	HANDSHAKE_MS = 10000,
	LISTEN_WAIT_MS = 1000,	       /* for the ring of a killed server to let go of its socket */
	LISTENER_NAME_BYTES_MAX = 255, /* systemd's FDNAME_MAX */
	STOP_MS = 2000,	     /* clients get this long to take their replies when we stop */
	STOP_QUIET_MS = 150, /* those that say nothing for so long are left sooner */
};

/* The policy file. */
enum {
	POLICY_BYTES_MAX = 16 << 20, /* all exports with the longest paths fit */
};
_Static_assert(POLICY_BYTES_MAX > EXPORTS_MAX * 2 * PATH_BYTES_MAX, "with room to spare");

/* Devices of dm-sealblk; theirs are in shim_uapi.h. */
enum {
	DM_DEVICES_MAX = 16, /* of a daemon: all their tags fit its rings */
};

/* The control sockets. */
enum {
	CONTROL_CLIENTS_MAX = 64,      /* at once, at all sockets of a daemon; each has a thread */
	CONTROL_FOLLOWERS_MAX = 32,    /* of them, those that follow events */
	CONTROL_EVENTS_MAX = 64,       /* kept per image for followers that are behind */
	CONTROL_EVENT_BYTES_MAX = 512, /* a line, with its newline */
};
_Static_assert(CONTROL_FOLLOWERS_MAX < CONTROL_CLIENTS_MAX, "followers leave room for others");

/* Commit. */
enum {
	DIRTY_BLOCKS_MAX = 4096,    /* map blocks with uncommitted entries */
	MAP_HEAP_BYTES_MAX = 4096,  /* of entries: more are mapped, not allocated */
	RECLAIM_BLOCKS_MIN = 64,    /* map blocks whose entries' memory is given back together */
	DIRTY_AREA_RECORDS = 32768, /* records per half of the dirty file */
	DIRTY_BACKED_RECORDS = 512, /* of them, those that have memory from the beginning */
	COMMIT_WRITES_MAX = 64,	    /* map block writes in flight */
	REFRESH_BLOCKS_MAX = 64,    /* stale slots refreshed by one round */
	ROUND_MS = 1000,	    /* uncommitted entries grow no older than this */
	SWEEP_PUNCHES_MAX = 32,	    /* for each tick of a worker, beside clients */
	SWEEP_QUIET_MS = 200,	    /* no client's request for so long: none is there */
};

/* The background rewrite. */
enum {
	REWRITE_BYTES = 1 << 20, /* of a piece: one read, one write */
	REWRITES_MAX = 16,	 /* pieces in flight per image */
	REWRITE_SKIP_MAX = 4096, /* map blocks looked at in one turn */
	REWRITE_LOOK_MAX = 1024, /* map blocks read in one turn */
	REWRITE_REST = 19,	 /* beside clients: of twenty parts of time, so many are theirs */
	REWRITE_QUIET_MS = 200,	 /* no client's request for so long: none is there */
	REWRITE_AGAIN_MS = 5000, /* to try again what failed */
};

/* A moment held: an export while clients write. */
enum {
	MOMENT_CHUNK_BYTES = 64 << 10, /* kept, and given out, in one piece */
	MOMENT_SLOTS_MAX = 64,	       /* chunks in memory on their way to the scratch file */
	MOMENT_ROOM_MIN = 16,	       /* slots free before those in line look again */
	MOMENT_STALL_MS = 2000,	       /* none of them got there, and clients wait: given up */
	MOMENT_READ_BYTES_MAX = 1 << 20,
};
_Static_assert(TIB % MOMENT_CHUNK_BYTES == 0, "a chunk has one key");

/* Keys. */
enum {
	KEY_FILE_BYTES_MIN = 32,
	KEY_FILE_BYTES_MAX = 4096,
	PASSPHRASE_BYTES_MAX = 4096,
	KEY_SOURCES_MAX = 16,
	KEY_COMMAND_WORDS_MAX = 32, /* a program and its arguments */
	KEY_DEADLINE_MS = 30000,    /* for what is asked for a key: a command, a token */
	SCRYPT_LOG_N_DEFAULT = 17,  /* with r = 8: 128 MiB, about 0.4 s */
	SCRYPT_LOG_N_MAX = 20,
	SCRYPT_R_MAX = 32,
	SCRYPT_P_MAX = 16,
	REVOKE_MS = 2000, /* drain and commit before keys leave memory: no longer */
};
#define SCRYPT_BYTES_MAX GIB		     /* an image may not ask for more memory than this */
#define SCRYPT_WORK_MAX	 ((uint64_t)1 << 24) /* N * r * p: 16 times the default, some seconds */

_Static_assert(CONN_REQUESTS_MAX <= WORKER_REQUESTS_MAX, "one client fits");
_Static_assert(CONN_BYTES_MAX >= REQ_BYTES_MAX, "each client may send the largest request");
_Static_assert(WORKER_REQUESTS_MAX <= 1 << 16, "slot must fit 16 bits");
_Static_assert(WORKER_BUFFER_BYTES >= 2 * REQ_BYTES_MAX, "two of the largest requests fit");
_Static_assert(NBD_OPTION_BYTES_MAX >= 2 * NBD_NAME_BYTES_MAX, "a name and a query fit");
_Static_assert(NBD_OPTION_BYTES_MAX + 16 <= CONN_RECV_BYTES, "read in one piece, with its header");

#endif
