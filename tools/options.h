/* SPDX-License-Identifier: MIT */
/*
 * The command line of sealblk, GNU style: long options, which may stand
 * anywhere, also before the verb.
 */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/base.h"
#include "image/problem.h"
#include "keys/key_source.h"
#include "progress.h"
#include "sealblk/limits.h"

/* DESIGN 9. */
enum tool_exit {
	TOOL_OK = 0,
	TOOL_FAILED = 1,
	TOOL_USAGE = 2,
	TOOL_REFUSED = 3, /* image damaged or refused */
	TOOL_KEY = 4,	  /* key wrong or revoked */
};

/* What convert and export write. */
enum tool_format {
	TOOL_FORMAT_AUTO, /* as DEST is called */
	TOOL_FORMAT_VHD,  /* fixed */
	TOOL_FORMAT_VHD_DYNAMIC,
	TOOL_FORMAT_RAW,
};

struct attach_via;

struct tool_options {
	const struct verb *verb; /* NULL: only --help or --version */
	bool help;
	bool version;
	bool json;
	bool repair;
	bool base_sha256;
	bool own_base;
	bool encryption; /* default: on */
	bool has_base;
	char base_path[PATH_BYTES_MAX];
	enum base_format base_format;
	uint64_t size_bytes; /* 0: not given */
	unsigned int plane;  /* its map value; 0: the current one */
	uint64_t tib;
	const char *output;		 /* a path, argv's; NULL: stdout */
	const char *svg;		 /* the same; NULL: no picture */
	unsigned int nr_key_sources;	 /* counted beyond the one there is room for */
	struct key_source key_source;	 /* the last; its name is argv's */
	unsigned int nr_new_key_sources; /* likewise */
	struct key_source new_key_source;
	bool has_slot;
	unsigned int slot; /* below KEY_SLOTS_MAX */
	bool destroy_data;
	bool has_max_rate;
	uint64_t max_rate; /* bytes a second; 0: no limit */
	bool drop_other_slots;
	enum progress_when progress;
	enum tool_format format;
	bool force;
	bool fix;
	const struct attach_via *via; /* NULL: not given */
	const char *image;	      /* the operand, or the first of two; argv's */
	const char *second;	      /* of verbs that take two; argv's; NULL: not given */
};

/* A row of the table in main.c; a new verb is a new row. */
struct verb {
	const char *name;     /* one word, or two: "key export" */
	const char *operands; /* as --help shows them */
	const char *summary;  /* for the list of verbs: a few words */
	const char *help;     /* whole lines */
	bool has_keys;
	bool has_two; /* operands */
	bool may_have_two;
	/* Is the command line complete? Returns 0, or -EINVAL with *problem. NULL: always. */
	int (*check)(const struct tool_options *options, struct problem *problem);
	/* Returns 0, or a negative errno with *problem; see tool_exit_of() in main.c. */
	int (*run)(const struct tool_options *options, struct problem *problem);
};

/* Ends with a row without a name. */
extern const struct verb tool_verbs[];

/*
 * Judges the whole command line but what verb->check() does. @argv is put in
 * another order. Returns 0, or -EINVAL with *problem, one line for the user.
 */
int MUST_CHECK tool_options_parse(struct tool_options *options, int argc, char **argv,
				  struct problem *problem);

/* Fill in *problem: "VERB: ... (see sealblk VERB --help)". @verb may be NULL. */
void tool_usage_problem(struct problem *problem, const struct verb *verb, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/*
 * Cut "PATH:FORMAT" in two; a colon that no format follows is part of the path. Returns
 * NULL, or what is wrong with @value.
 */
const char *tool_split_format(const char *value, char ret_path[PATH_BYTES_MAX],
			      enum base_format *ret_format);

/* Print --help of a verb, or of sealblk itself when @verb is NULL, to stdout. */
void tool_print_help(const struct verb *verb);

#endif
