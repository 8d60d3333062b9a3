/* SPDX-License-Identifier: MIT */
/* What is a policy, what is none, and where it goes wrong. */
#include "control/policy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy policy;
static struct problem problem;

static int parse(const char *text)
{
	policy_done(&policy);
	return policy_parse(text, strlen(text), "/p", &policy, &problem);
}

Test(policy, an_empty_object_wants_nothing)
{
	cr_assert_eq(parse("{}"), 0);
	cr_expect_eq(policy.encryption, POLICY_UNSAID);
	cr_expect_str_eq(policy.directory, "");
	cr_expect_eq(policy.nr_exports, 0);
}

Test(policy, takes_all_there_is_to_say)
{
	cr_assert_eq(parse("{\"encryption\": true, \"directory\": \"/disks\",\n"
			   " \"exports\": [{\"name\": \"a\", \"image\": \"/x/a.seal\"},\n"
			   "  {\"name\": \"\", \"image\": \"/b\", \"encryption\": false},\n"
			   "  {\"name\": \"c\", \"encryption\": true},\n"
			   "  {\"name\": \"d\", \"description\": \"the \u00e9lan disk\"}]}"),
		     0, "%s", problem.text);
	cr_expect_eq(policy.encryption, POLICY_ON);
	cr_expect_str_eq(policy.directory, "/disks");
	cr_assert_eq(policy.nr_exports, 4);
	cr_expect_str_eq(policy.exports[0].name, "a");
	cr_expect_str_eq(policy.exports[0].image, "/x/a.seal");
	cr_expect_eq(policy.exports[0].encryption, POLICY_UNSAID);
	cr_expect_str_eq(policy.exports[1].name, "");
	cr_expect_eq(policy.exports[1].encryption, POLICY_OFF);
	cr_expect_str_eq(policy.exports[2].image, "");
	cr_expect_eq(policy.exports[2].encryption, POLICY_ON);
	cr_expect_str_eq(policy.exports[2].description, "");
	cr_expect_str_eq(policy.exports[3].description, "the \xc3\xa9lan disk");
	cr_expect_eq(policy.exports[3].encryption, POLICY_UNSAID);
	cr_assert_eq(parse("{\"encryption\": false}"), 0);
	cr_expect_eq(policy.encryption, POLICY_OFF);
	cr_expect_eq(policy.nr_exports, 0, "left over from the one before");
}

Test(policy, says_what_is_wrong_and_where)
{
	static const struct {
		const char *text, *complaint;
	} rows[] = {
		{ "", "policy /p: line 1, column 0: '[' or '{' expected near end of file" },
		{ "{\n  \"encryption\": yes\n}",
		  "policy /p: line 2, column 19: invalid token near 'yes'" },
		{ "{\"encryption\": true", "policy /p: line 1, column 19: '}' expected" },
		{ "{\"encryption\": true, \"encryption\": false}",
		  "policy /p: line 1, column 33: duplicate object key" },
		{ "{} x", "policy /p: line 1, column 4: end of file expected near 'x'" },
		{ "{\"directory\": \"/\xff\"}",
		  "policy /p: line 1, column 16: unable to decode byte 0xff" },
		{ "{\"directory\": \"/a\\u0000b\"}", "policy /p: line 1, column " },
		{ "[]", "policy /p: must be an object" },
		{ "{\"encrypt\": true}", "policy /p: unknown member \"encrypt\"" },
		{ "{\"encryption\": \"on\"}", "policy /p: \"encryption\" must be true or false" },
		{ "{\"encryption\": null}", "policy /p: \"encryption\" must be true or false" },
		{ "{\"directory\": 1}",
		  "policy /p: \"directory\" must be a path that begins with /" },
		{ "{\"directory\": \"a\"}",
		  "policy /p: \"directory\" must be a path that begins with /" },
		{ "{\"directory\": \"\"}",
		  "policy /p: \"directory\" must be a path that begins with /" },
		{ "{\"exports\": {}}", "policy /p: \"exports\" must be a list" },
		{ "{\"exports\": [1]}", "policy /p: exports[0]: must be an object" },
		{ "{\"exports\": [{}]}", "policy /p: exports[0]: \"name\" is missing" },
		{ "{\"exports\": [{\"image\": \"/a\"}]}",
		  "policy /p: exports[0]: \"name\" is missing" },
		{ "{\"exports\": [{\"name\": \"a\"}]}",
		  "policy /p: exports[0]: \"image\" is missing" },
		{ "{\"exports\": [{\"name\": 5, \"image\": \"/a\"}]}",
		  "policy /p: exports[0]: \"name\" must be a text" },
		{ "{\"exports\": [{\"name\": \"a\", \"image\": \"a\"}]}",
		  "policy /p: exports[0]: \"image\" must be a path that begins with /" },
		{ "{\"exports\": [{\"name\": \"a\", \"image\": \"/a\", \"key\": \"k\"}]}",
		  "policy /p: exports[0]: unknown member \"key\"" },
		{ "{\"exports\": [{\"name\": \"a\", \"image\": \"/a\", \"encryption\": 1}]}",
		  "policy /p: exports[0]: \"encryption\" must be true or false" },
		{ "{\"exports\": [{\"name\": \"a\", \"description\": 1}]}",
		  "policy /p: exports[0]: \"description\" must be a text" },
		{ "{\"exports\": [{\"name\": \"a\", \"description\": \"\"}]}",
		  "policy /p: exports[0]: \"image\" is missing" },
		{ "{\"exports\": [{\"name\": \"a\", \"description\": \"a\\nb\"}]}",
		  "policy /p: exports[0]: \"description\" must be one line of text" },
		{ "{\"exports\": [{\"name\": \"a\", \"description\": \"\\u001b[2J\"}]}",
		  "policy /p: exports[0]: \"description\" must be one line of text" },
		{ "{\"exports\": [{\"name\": \"a\", \"image\": \"/a\"}, {\"name\": \"a\", \"image\": \"/b\"}]}",
		  "policy /p: exports[1]: two exports have the name \"a\"" },
		/* After a list, a complaint about the whole has no place in it any more. */
		{ "{\"exports\": [{\"name\": \"a\", \"image\": \"/a\"}], \"x\": 1}",
		  "policy /p: unknown member \"x\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		problem.text[0] = '\0';
		cr_expect_eq(parse(rows[i].text), -EINVAL, "row %zu", i);
		cr_expect_eq(strncmp(problem.text, rows[i].complaint, strlen(rows[i].complaint)), 0,
			     "row %zu: %s", i, problem.text);
		cr_expect_null(strchr(problem.text, '\n'), "row %zu", i);
	}
}

Test(policy, the_longest_description_is_taken_and_a_longer_one_refused)
{
	char text[EXPORT_DESCRIPTION_BYTES_MAX + 64];

	for (int longer = 0; longer < 2; longer++) {
		sprintf(text, "{\"exports\": [{\"name\": \"a\", \"description\": \"%0*d\"}]}",
			EXPORT_DESCRIPTION_BYTES_MAX + longer, 1);
		cr_assert_eq(parse(text), longer ? -EINVAL : 0);
	}
	cr_expect_str_eq(problem.text, "policy /p: exports[0]: \"description\" is too long");
}

/* {"exports": [{"name": NAME, "image": IMAGE}, ...]} with @nr of them. */
static int parse_many(unsigned int nr, size_t name_bytes, size_t image_bytes)
{
	char *text = calloc(1, 64 + nr * (name_bytes + image_bytes + 64)), *at = text;
	int r;

	at += sprintf(at, "{\"exports\": [");
	for (unsigned int i = 0; i < nr; i++)
		at += sprintf(at, "%s{\"name\": \"%0*u\", \"image\": \"/%0*u\"}", i ? "," : "",
			      (int)name_bytes, i, (int)image_bytes - 1, i);
	strcpy(at, "]}");
	r = parse(text);
	free(text);
	return r;
}

Test(policy, keeps_within_the_limits)
{
	cr_expect_eq(parse_many(EXPORTS_MAX, EXPORT_NAME_BYTES_MAX, PATH_BYTES_MAX - 1), 0);
	cr_expect_eq(strlen(policy.exports[EXPORTS_MAX - 1].name), EXPORT_NAME_BYTES_MAX);
	cr_expect_eq(strlen(policy.exports[EXPORTS_MAX - 1].image), PATH_BYTES_MAX - 1);
	cr_expect_eq(parse_many(EXPORTS_MAX + 1, 3, 3), -EINVAL);
	cr_expect_str_eq(problem.text, "policy /p: \"exports\" has more than 1024");
	cr_expect_eq(parse_many(1, EXPORT_NAME_BYTES_MAX + 1, 3), -EINVAL);
	cr_expect_str_eq(problem.text, "policy /p: exports[0]: \"name\" is too long");
	cr_expect_eq(parse_many(1, 3, PATH_BYTES_MAX), -EINVAL);
	cr_expect_str_eq(problem.text, "policy /p: exports[0]: \"image\" is too long");
}

Test(policy, a_deep_or_cut_text_is_refused_and_nothing_worse)
{
	static char deep[100000];
	const char *whole =
		"{\"encryption\": true, \"exports\": [{\"name\": \"a\", \"image\": \"/a\"}]}";

	memset(deep, '[', sizeof(deep) - 1);
	cr_expect_eq(parse(deep), -EINVAL);
	for (size_t nr = 0; nr < strlen(whole); nr++) {
		policy_done(&policy);
		cr_expect_eq(policy_parse(whole, nr, "/p", &policy, &problem), -EINVAL, "%zu", nr);
	}
	cr_expect_eq(parse(whole), 0);
}
