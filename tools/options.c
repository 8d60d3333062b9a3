/* SPDX-License-Identifier: MIT */
/*
 * The command line: see options.h. All options of all verbs stand in one table,
 * so that an option may come before the verb it belongs to.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach_options.h"
#include "copy_options.h"
#include "key_options.h"
#include "sealblk/seal_format.h"
#include "sealblk/units.h"

/* Returns 0, or what is wrong with @value. */
typedef const char *(*option_fn)(struct tool_options *options, const char *value);

struct row {
	const char *name;
	const char *value; /* what --help calls it; NULL: the option has none */
	const char *verbs; /* comma before and after each; NULL: every verb */
	const char *help;
	option_fn set;
};

/* ---- options ---- */

static const char *set_base(struct tool_options *options, const char *value)
{
	const char *wrong = tool_split_format(value, options->base_path, &options->base_format);

	options->has_base = wrong == NULL;
	return wrong;
}

/* A number, then K, M, G, T or nothing. Returns 0, -EINVAL or -ERANGE. */
static int parse_size(const char *value, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	errno = 0;
	*ret_bytes = strtoull(value, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	/* strtoull() also takes spaces and signs. */
	if (*value < '0' || *value > '9' || (*end && (!unit || end[1])))
		return -EINVAL;
	if (errno == ERANGE ||
	    (unit && __builtin_mul_overflow(*ret_bytes, KIB << (10 * (unit - units)), ret_bytes)))
		return -ERANGE;
	return 0;
}

static const char *set_size(struct tool_options *options, const char *value)
{
	uint64_t bytes;
	int r = parse_size(value, &bytes);

	if (r == -EINVAL)
		return "not a size: a number, then K, M, G, T or nothing";
	if (r < 0 || bytes > DISK_BYTES_MAX)
		return "a disk has 64T at most";
	if (bytes == 0 || bytes % SECTOR_BYTES != 0)
		return "a disk is a multiple of 512 bytes, and at least that";
	options->size_bytes = bytes;
	return NULL;
}

static const char *set_max_rate(struct tool_options *options, const char *value)
{
	options->has_max_rate = true;
	return parse_size(value, &options->max_rate) < 0 || options->max_rate > INT64_MAX
		       ? "not a number of bytes a second: a number, then K, M, G, T or nothing"
		       : NULL;
}

static const char *set_progress(struct tool_options *options, const char *value)
{
	static const char *const names[] = {
		[PROGRESS_AUTO] = "auto", [PROGRESS_ALWAYS] = "always", [PROGRESS_NEVER] = "never"
	};

	for (unsigned int i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		options->progress = (enum progress_when)i;
		return NULL;
	}
	return "neither auto, always nor never";
}

static const char *set_drop_other_slots(struct tool_options *options, const char *value)
{
	(void)value;
	options->drop_other_slots = true;
	return NULL;
}

static const char *set_encryption(struct tool_options *options, const char *value)
{
	options->encryption = strcmp(value, "on") == 0;
	return options->encryption || strcmp(value, "off") == 0 ? NULL : "neither on nor off";
}

static const char *set_own_base(struct tool_options *options, const char *value)
{
	(void)value;
	options->own_base = true;
	return NULL;
}

static const char *set_base_sha256(struct tool_options *options, const char *value)
{
	(void)value;
	options->base_sha256 = true;
	return NULL;
}

/* @value: a decimal number from @first to @last and nothing else. */
static bool parse_number(const char *value, uint64_t first, uint64_t last, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(value, &end, 10);
	/* strtoull() also takes spaces and signs. */
	if (*value < '0' || *value > '9' || *end || errno || number < first || number > last)
		return false;
	*ret_number = number;
	return true;
}

static const char *set_plane(struct tool_options *options, const char *value)
{
	uint64_t number;

	if (!parse_number(value, SEAL_ENTRY_PLANE_FIRST, SEAL_ENTRY_PLANE_FIRST + PLANES_MAX - 1,
			  &number))
		return "planes have the numbers 2 to 15";
	options->plane = (unsigned int)number;
	return NULL;
}

static const char *set_tib(struct tool_options *options, const char *value)
{
	return parse_number(value, 0, DISK_BYTES_MAX / TIB - 1, &options->tib)
		       ? NULL
		       : "a disk has TiB 0 to 63 at most";
}

static const char *set_slot(struct tool_options *options, const char *value)
{
	uint64_t number;

	if (!parse_number(value, 0, KEY_SLOTS_MAX - 1, &number))
		return "key slots have the numbers 0 to 7";
	options->slot = (unsigned int)number;
	options->has_slot = true;
	return NULL;
}
_Static_assert(KEY_SLOTS_MAX == 8, "says the message");

static const char *set_destroy_data(struct tool_options *options, const char *value)
{
	(void)value;
	options->destroy_data = true;
	return NULL;
}

static const char *set_output(struct tool_options *options, const char *value)
{
	options->output = value;
	return *value ? NULL : "names no file";
}

static const char *set_svg(struct tool_options *options, const char *value)
{
	options->svg = value;
	return *value ? NULL : "names no file";
}

static const char *set_repair(struct tool_options *options, const char *value)
{
	(void)value;
	options->repair = true;
	return NULL;
}

static const char *set_json(struct tool_options *options, const char *value)
{
	(void)value;
	options->json = true;
	return NULL;
}

static const char *set_help(struct tool_options *options, const char *value)
{
	(void)value;
	options->help = true;
	return NULL;
}

static const char *set_version(struct tool_options *options, const char *value)
{
	(void)value;
	options->version = true;
	return NULL;
}

#define REWRITE_VERBS                                                                       \
	"encrypt,encrypt start,encrypt pause,encrypt resume,rekey,rekey start,rekey pause," \
	"rekey resume,"

/* Those that take a KEYSOURCE. */
#define KEY_VERBS                                                                        \
	",create,check,key export,key add,key remove,key rotate,key revoke,key restore," \
	"encryption on,encryption off,export,import,attach," REWRITE_VERBS

static const struct row rows[] = {
	{ "base", "FILE[:FORMAT]", ",create,",
	  "read unwritten sectors from FILE, which never changes", set_base },
	{ "own-base", NULL, ",create,",
	  "FILE, a fixed VHD, is IMAGE's alone: what is rewritten is punched out of it",
	  set_own_base },
	{ "base-sha256", NULL, ",create,", "check all of FILE at each open, however large it is",
	  set_base_sha256 },
	{ "size", "N", ",create,", "of the disk, in bytes or with K, M, G, T; default: the base's",
	  set_size },
	{ "key-file", "FILE", KEY_VERBS, "the key: all bytes of FILE, 32 to 4096",
	  key_option_key_file },
	{ "passphrase-file", "FILE", KEY_VERBS, "the key: the first line of FILE",
	  key_option_passphrase_file },
	{ "credential", "NAME", KEY_VERBS, "the key: systemd's credential NAME, 32 to 4096 bytes",
	  key_option_credential },
	{ "keyring", "DESC", KEY_VERBS,
	  "the key: the kernel's of type \"user\" that is called DESC, likewise",
	  key_option_keyring },
	{ "key-command", "CMD", KEY_VERBS,
	  "the key: what the program CMD prints; see docs/key-sources.md", key_option_key_command },
	{ "pkcs11", "URI", KEY_VERBS,
	  "the key: an HMAC of a PKCS#11 token's secret key, which stays there",
	  key_option_pkcs11 },
	{ "new-key-file", "FILE", ",key add,key rotate,",
	  "the new key: all bytes of FILE, 32 to 4096", key_option_new_key_file },
	{ "new-passphrase-file", "FILE", ",key add,key rotate,",
	  "the new key: the first line of FILE", key_option_new_passphrase_file },
	{ "new-credential", "NAME", ",key add,key rotate,",
	  "the new key: systemd's credential NAME", key_option_new_credential },
	{ "new-keyring", "DESC", ",key add,key rotate,",
	  "the new key: the kernel's of type \"user\" that is called DESC",
	  key_option_new_keyring },
	{ "new-key-command", "CMD", ",key add,key rotate,",
	  "the new key: what the program CMD prints", key_option_new_key_command },
	{ "new-pkcs11", "URI", ",key add,key rotate,",
	  "the new key: an HMAC of a PKCS#11 token's secret key", key_option_new_pkcs11 },
	{ "slot", "N", ",key remove,", "the key slot, as key list numbers them", set_slot },
	{ "destroy-data", NULL, ",key remove,",
	  "remove the last key slot: nothing opens IMAGE ever again", set_destroy_data },
	{ "encryption", "on|off", ",create,", "are written sectors encrypted? default: on",
	  set_encryption },
	{ "plane", "N", ",key export,",
	  "of plane N, as info numbers them; default: the current one", set_plane },
	{ "tib", "N", ",key export,", "of the plane's TiB N; default: 0", set_tib },
	{ "output", "FILE", ",key export,", "write the 64 bytes to FILE, which must not exist",
	  set_output },
	{ "svg", "FILE", ",map,", "draw the disk into FILE, in place of what was there", set_svg },
	{ "repair", NULL, ",check,", "mend what can be mended without a guess; wants a KEYSOURCE",
	  set_repair },
	{ "max-rate", "N", ",encrypt,encrypt start,encrypt resume,rekey,rekey start,rekey resume,",
	  "bytes a second, or with K, M, G, T; 0: no limit", set_max_rate },
	{ "drop-other-slots", NULL, ",rekey,rekey start,",
	  "only the key given opens IMAGE afterwards", set_drop_other_slots },
	{ "format", "FORMAT", ",convert,export,",
	  "of DEST: vhd (fixed), vhd-dynamic or raw; default: as DEST is called, else vhd",
	  copy_option_format },
	{ "force", NULL, ",convert,export,detach,",
	  "replace DEST if it is there; detach a device that is in use", copy_option_force },
	{ "via", "WAY", ",attach,",
	  "nbd (default): the kernel's NBD client; dm: the device mapper, and its module dm-sealblk",
	  attach_option_via },
	{ "fix", NULL, ",vhd check,", "write the footer anew where that is what is wrong",
	  copy_option_fix },
	{ "progress", "WHEN", ",encrypt,rekey,convert,export,import,",
	  "auto (default: on a terminal a bar), always (else lines), never", set_progress },
	{ "json", NULL,
	  ",info,map,events,check,vhd info,key list,encryption on,encryption off,encryption status,"
	  "encrypt status,rekey status,convert,export,import,vhd check,",
	  "print JSON", set_json },
	{ "help", NULL, NULL, "print this and exit", set_help },
	{ "version", NULL, NULL, "print the version and exit", set_version },
};

/* ---- help ---- */

static bool belongs_to(const struct row *row, const struct verb *verb)
{
	char word[32];

	if (!row->verbs)
		return true;
	if (!verb)
		return false;
	snprintf(word, sizeof(word), ",%s,", verb->name);
	return strstr(row->verbs, word) != NULL;
}

static void print_options(const struct verb *verb)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char left[64];

		if (!belongs_to(&rows[i], verb))
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
			 rows[i].value ? rows[i].value : "");
		printf("  %-24s %s\n", left, rows[i].help);
	}
}

void tool_print_help(const struct verb *verb)
{
	if (verb) {
		printf("usage: sealblk %s %s\n%s\n", verb->name, verb->operands, verb->help);
		print_options(verb);
		return;
	}
	printf("usage: sealblk VERB [OPTION]... IMAGE\n"
	       "Make and inspect encrypted disk images, which sealblkd serves.\n\n");
	for (const struct verb *row = tool_verbs; row->name; row++)
		printf("  %-24s %s\n", row->name, row->summary);
	printf("\n");
	print_options(NULL);
	printf("\nsealblk VERB --help tells more of a verb.\n"
	       "Exit: 0 ok, 1 operation failed, 2 usage, 3 image damaged or refused, 4 key wrong\n"
	       "or revoked.\n");
}

void tool_usage_problem(struct problem *problem, const struct verb *verb, const char *fmt, ...)
{
	const char *space = verb ? " " : "", *name = verb ? verb->name : "";
	char text[sizeof(problem->text) - 128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(problem->text, sizeof(problem->text), "%s%s%s (see sealblk%s%s --help)", name,
		 verb ? ": " : "", text, space, name);
}

/* ---- parsing ---- */

enum {
	FIRST_VALUE = 256, /* getopt_long()'s number of row 0: above any character */
};

static void fill_getopt(struct option getopt_rows[ARRAY_LEN(rows) + 1])
{
	memset(getopt_rows, 0, (ARRAY_LEN(rows) + 1) * sizeof(*getopt_rows));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		getopt_rows[i].name = rows[i].name;
		getopt_rows[i].has_arg = rows[i].value ? required_argument : no_argument;
		getopt_rows[i].val = FIRST_VALUE + (int)i;
	}
}

/* getopt_long() has said ':' or '?'. */
static int refuse_option(const struct verb *verb, int said, const char *word,
			 struct problem *problem)
{
	if (said == ':')
		tool_usage_problem(problem, verb, "--%s wants %s", rows[optopt - FIRST_VALUE].name,
				   rows[optopt - FIRST_VALUE].value);
	else if (optopt >= FIRST_VALUE)
		tool_usage_problem(problem, verb, "--%s takes no value",
				   rows[optopt - FIRST_VALUE].name);
	else if (optopt)
		tool_usage_problem(problem, verb, "unknown option -%c", optopt);
	else
		tool_usage_problem(problem, verb, "unknown or ambiguous option %s", word);
	return -EINVAL;
}

/* A URI may hold a PIN, and what is printed here ends up in a log. */
static const char *shown_value(const struct row *row, const char *value)
{
	return strcmp(row->value, "URI") == 0 ? row->value : value;
}

/* Sets bit i of *ret_given for row i. */
static int parse_options(struct tool_options *options, int argc, char **argv, uint64_t *ret_given,
			 struct problem *problem)
{
	struct option getopt_rows[ARRAY_LEN(rows) + 1];
	const struct verb *verb = options->verb;
	int said;

	fill_getopt(getopt_rows);
	while ((said = getopt_long(argc, argv, ":", getopt_rows, NULL)) != -1) {
		const struct row *row;
		const char *wrong;

		if (said < FIRST_VALUE)
			return refuse_option(verb, said, argv[optind - 1], problem);
		row = &rows[said - FIRST_VALUE];
		wrong = row->set(options, optarg);
		if (wrong) {
			tool_usage_problem(problem, verb, "--%s %s: %s", row->name,
					   shown_value(row, optarg), wrong);
			return -EINVAL;
		}
		*ret_given |= (uint64_t)1 << (said - FIRST_VALUE);
	}
	return 0;
}
_Static_assert(ARRAY_LEN(rows) <= 64, "a bit for each option");

static int count_words(const struct verb *verb)
{
	return strchr(verb->name, ' ') ? 2 : 1;
}

/* Do @words, of which the first is there, begin with the name of @verb? */
static bool is_named(const struct verb *verb, char *const *words)
{
	size_t first_bytes = strlen(words[0]);

	if (count_words(verb) == 1)
		return strcmp(words[0], verb->name) == 0;
	return strncmp(words[0], verb->name, first_bytes) == 0 && verb->name[first_bytes] == ' ' &&
	       words[1] && strcmp(words[1], verb->name + first_bytes + 1) == 0;
}

static const struct verb *find_verb(char *const *words)
{
	for (const struct verb *verb = tool_verbs; verb->name; verb++)
		if (is_named(verb, words))
			return verb;
	return NULL;
}

/*
 * The words that are neither options nor an option's value, up to NULL. What is
 * wrong with the options shows later, when the verb can be named beside it.
 * @words: argv; put in another order.
 */
static char **find_operands(int argc, char **words)
{
	struct option getopt_rows[ARRAY_LEN(rows) + 1];
	char **operands;

	fill_getopt(getopt_rows);
	opterr = 0;
	while (getopt_long(argc, words, ":", getopt_rows, NULL) != -1)
		;
	operands = words + optind;
	optind = 0; /* glibc: the next call begins anew */
	return operands;
}

/* Names the second word as well when the first one wants one. */
static void refuse_verb(char *const *operands, struct problem *problem)
{
	size_t first_bytes = strlen(operands[0]);

	for (const struct verb *verb = tool_verbs; verb->name; verb++) {
		if (count_words(verb) == 1 || strncmp(verb->name, operands[0], first_bytes) != 0 ||
		    verb->name[first_bytes] != ' ')
			continue;
		tool_usage_problem(problem, NULL, "unknown verb %s%s%s: did you mean %s?",
				   operands[0], operands[1] ? " " : "",
				   operands[1] ? operands[1] : "", verb->name);
		return;
	}
	tool_usage_problem(problem, NULL, "unknown verb %s", operands[0]);
}

static int parse_verb(struct tool_options *options, int argc, char *const *argv,
		      struct problem *problem)
{
	/* Of a copy: "create --size" in another order would read "--size create". */
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	char **operands;
	int r = 0;

	if (!words) {
		problem_set(problem, "sealblk", argv[0], "no memory to read its options");
		return -ENOMEM;
	}
	memcpy(words, argv, (size_t)argc * sizeof(*words));
	operands = find_operands(argc, words);
	if (*operands) {
		options->verb = find_verb(operands);
		if (!options->verb) {
			refuse_verb(operands, problem);
			r = -EINVAL;
		}
	}
	free(words);
	return r;
}

/* @given: as parse_options() left it. */
static int check_given(const struct tool_options *options, uint64_t given, struct problem *problem)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(given >> i & 1) || belongs_to(&rows[i], options->verb))
			continue;
		tool_usage_problem(problem, options->verb, "takes no --%s", rows[i].name);
		return -EINVAL;
	}
	return 0;
}

/* The last words of the command line. */
static int parse_operands(struct tool_options *options, char **words, struct problem *problem)
{
	const struct verb *verb = options->verb;

	if (!words[0] || !*words[0]) {
		tool_usage_problem(problem, verb,
				   verb->has_two ? "no source named" : "no image named");
		return -EINVAL;
	}
	options->image = words[0];
	if (verb->may_have_two && words[1]) {
		options->second = words[1];
		words++;
	}
	if (!verb->has_two) {
		if (!words[1])
			return 0;
		tool_usage_problem(problem, verb, "one image at a time, not also %s", words[1]);
		return -EINVAL;
	}
	if (!words[1] || !*words[1] || words[2]) {
		tool_usage_problem(problem, verb, "two files are wanted, from where and to where");
		return -EINVAL;
	}
	options->second = words[1];
	return 0;
}

int tool_options_parse(struct tool_options *options, int argc, char **argv, struct problem *problem)
{
	uint64_t given = 0;
	int r;

	*options = (struct tool_options){ .encryption = true };
	r = parse_verb(options, argc, argv, problem);
	if (r == 0)
		r = parse_options(options, argc, argv, &given, problem);
	if (r < 0 || options->help || options->version)
		return r;
	if (!options->verb) {
		tool_usage_problem(problem, NULL, "no verb given");
		return -EINVAL;
	}
	r = check_given(options, given, problem);
	return r == 0 ? parse_operands(options, argv + optind + count_words(options->verb), problem)
		      : r;
}
