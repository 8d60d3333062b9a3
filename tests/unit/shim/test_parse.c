/* SPDX-License-Identifier: MIT */
/* What is typed at dm-sealblk: the module's own code, here in user space. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../../kernel-shim/parse.h"
#include "base/compiler.h"

enum { ARGUMENTS_MAX = 12, LINE_BYTES = 256 };

/* @line: words with one space between. */
static const char *parse(char line[static LINE_BYTES], struct shim_table *table)
{
	char *argv[ARGUMENTS_MAX], *save;
	unsigned int argc = 0;

	for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	return shim_parse_table(argc, argv, table);
}

static const char *parse_text(const char *text, struct shim_table *table)
{
	static char line[LINE_BYTES];

	cr_assert_lt(strlen(text), sizeof(line));
	strcpy(line, text);
	return parse(line, table);
}

Test(shim_parse, a_name_alone_gets_the_defaults)
{
	struct shim_table table;

	cr_assert_null(parse_text("vm-1.disk", &table));
	cr_expect_str_eq(table.name, "vm-1.disk");
	cr_expect_eq(table.queue_depth, SHIM_QUEUE_DEPTH_DEFAULT);
	cr_expect_eq(table.max_io_kib, SHIM_IO_KIB_DEFAULT);
	cr_expect_eq(table.timeout_s, 0);
}

Test(shim_parse, options_come_in_any_order)
{
	struct shim_table table;

	cr_assert_null(parse_text("vm timeout 30 max_io_kib 1024 queue_depth 7", &table));
	cr_expect_eq(table.queue_depth, 7);
	cr_expect_eq(table.max_io_kib, 1024);
	cr_expect_eq(table.timeout_s, 30);
}

Test(shim_parse, what_a_table_says_comes_back_from_dmsetup_table)
{
	struct shim_table table;

	cr_assert_null(parse_text("vm queue_depth 64 max_io_kib 256 timeout 0", &table));
	cr_expect_eq(table.queue_depth, 64);
	cr_expect_eq(table.max_io_kib, 256);
	cr_expect_eq(table.timeout_s, 0);
}

Test(shim_parse, limits_themselves_are_allowed)
{
	struct shim_table table;

	cr_expect_null(parse_text("a queue_depth 1 max_io_kib 4", &table));
	cr_expect_null(parse_text("a queue_depth 256 max_io_kib 1024", &table));
	cr_expect_null(parse_text("a queue_depth 64 max_io_kib 4096 timeout 86400", &table));
}

static const char *const bad_tables[] = {
	"",
	"vm queue_depth",
	"vm queue_depth 0",
	"vm queue_depth 257",
	"vm queue_depth -1",
	"vm queue_depth 4294967297",
	"vm queue_depth 99999999999999999999999999",
	"vm queue_depth 0x10",
	"vm queue_depth 1k",
	"vm queue_depth 8 queue_depth 8",
	"vm max_io_kib 0",
	"vm max_io_kib 3",
	"vm max_io_kib 6",
	"vm max_io_kib 4100",
	"vm queue_depth 256 max_io_kib 1028",
	"vm timeout 86401",
	"vm timeout 1.5",
	"vm timeout",
	"vm colour blue",
	"vm 64",
	"../vm",
	"a/b",
	".vm",
	"-vm",
	"v\xc3\xbcm",
	"vm! timeout 1",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* 64 */
};

Test(shim_parse, bad_tables_are_refused_with_a_reason)
{
	for (size_t i = 0; i < ARRAY_LEN(bad_tables); i++) {
		struct shim_table table;
		const char *wrong = parse_text(bad_tables[i], &table);

		cr_expect_not_null(wrong, "taken: %s", bad_tables[i]);
		cr_expect(!wrong || strlen(wrong) > 10, "%s", wrong);
	}
}

Test(shim_parse, an_empty_word_is_no_name_and_no_number)
{
	char empty[] = "", vm[] = "vm", depth[] = "queue_depth";
	char *nameless[] = { empty };
	char *numberless[] = { vm, depth, empty };
	struct shim_table table;

	cr_expect_not_null(shim_parse_table(1, nameless, &table));
	cr_expect_not_null(shim_parse_table(3, numberless, &table));
}

Test(shim_parse, the_one_message_sets_the_timeout)
{
	char timeout[] = "timeout", seconds[] = "30", many[] = "86401", other[] = "fail";
	char *good[] = { timeout, seconds, seconds };
	char *large[] = { timeout, many };
	char *unknown[] = { other, seconds };
	unsigned int timeout_s = 7;

	cr_expect_null(shim_parse_message(2, good, &timeout_s));
	cr_expect_eq(timeout_s, 30);
	cr_expect_not_null(shim_parse_message(0, good, &timeout_s));
	cr_expect_not_null(shim_parse_message(1, good, &timeout_s));
	cr_expect_not_null(shim_parse_message(3, good, &timeout_s));
	cr_expect_not_null(shim_parse_message(2, large, &timeout_s));
	cr_expect_not_null(shim_parse_message(2, unknown, &timeout_s));
	cr_expect_eq(timeout_s, 30);
}
