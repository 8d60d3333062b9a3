/* SPDX-License-Identifier: MIT */
/*
 * Option haggling, inside nbd/: session.c cuts the stream into options,
 * options.c and contexts.c answer them, option.c holds what both need.
 *
 * An answer of several replies may not fit into the room there is. Then the
 * option stays in the input and its handler runs again from the start, once
 * there is room: replies that are out already are counted and left out. So
 * what a handler does to the session must come out the same when done twice.
 */
#ifndef NBD_OPTION_H
#define NBD_OPTION_H

#include "base/cursor.h"
#include "nbd/session.h"

struct nbds_option {
	struct nbds_session *session;
	uint32_t option;    /* NBD_OPT_* or anything */
	bool too_long;	    /* skipped: @data is empty though there was some */
	struct cursor data; /* all of it */

	struct nbds_out *out;
	unsigned int nr_replies; /* in this run of the handler */
	bool full;		 /* sticky: a reply found no room, run again */
};

enum nbds_answer {
	NBDS_ANSWERED, /* the haggling goes on */
	NBDS_CHOSEN,   /* session->export_index is the client's export */
	NBDS_SECURED,  /* TLS comes next */
	NBDS_CLOSE,    /* no more to say */
};

/* A piece of a reply, or a string of the client's, which has no NUL at its end. */
struct nbds_bytes {
	const void *at;
	size_t nr_bytes;
};

/* A C string without its NUL; NULL is the empty one. */
struct nbds_bytes nbds_bytes_of(const char *text);

bool nbds_bytes_equal(struct nbds_bytes a, struct nbds_bytes b);

/*
 * A string as the protocol defines it ("Conventions": at most 4096 bytes, no
 * NUL); anything else sets @c->overrun, and the string is empty.
 */
struct nbds_bytes nbds_take_string(struct cursor *c, size_t nr_bytes);

/* The export's index, or -ENOENT. */
int nbds_find_export(const struct nbds_session *session, struct nbds_bytes name);

/* Append @parts as one reply: whole, or not at all and @o->full is set. */
void nbds_put_bytes(struct nbds_option *o, const struct nbds_bytes *parts, unsigned int nr_parts);

/* The same behind a reply header of @type. At most NBDS_REPLY_PARTS_MAX parts. */
enum { NBDS_REPLY_PARTS_MAX = 3 };
void nbds_put_reply(struct nbds_option *o, uint32_t type, const struct nbds_bytes *parts,
		    unsigned int nr_parts);
void nbds_put_ack(struct nbds_option *o);
void nbds_put_error(struct nbds_option *o, uint32_t type, const char *text);

/* options.c: answer any option. The result counts only if @o->full is not set. */
enum nbds_answer nbds_answer_option(struct nbds_option *o);

/* contexts.c: the handler of LIST_META_CONTEXT and SET_META_CONTEXT. */
enum nbds_answer nbds_answer_contexts(struct nbds_option *o);

#endif
