/* SPDX-License-Identifier: MIT */
/* Policy files: see policy.h. Whatever is not understood is refused. */
#include "control/policy.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parsing {
	const char *path;
	struct problem *problem;
	char place[32]; /* in the file: "", or "exports[3]: " */
};

/* A member of an object; @take is given the object that is filled in. */
struct member {
	const char *name;
	int (*take)(struct parsing *parsing, const json_t *value, void *into);
};

static int take_members(struct parsing *parsing, const json_t *object, const struct member *members,
			void *into)
{
	const char *name;
	const json_t *value;

	if (!json_is_object(object)) {
		problem_set(parsing->problem, "policy", parsing->path, "%smust be an object",
			    parsing->place);
		return -EINVAL;
	}
	/* The macro takes no const object, and changes none. */
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		const struct member *member = members;
		int r;

		while (member->name && strcmp(member->name, name) != 0)
			member++;
		if (!member->name) {
			problem_set(parsing->problem, "policy", parsing->path,
				    "%sunknown member \"%s\"", parsing->place, name);
			return -EINVAL;
		}
		r = member->take(parsing, value, into);
		if (r < 0)
			return r;
	}
	return 0;
}

static int wrong(const struct parsing *parsing, const char *member, const char *what)
{
	problem_set(parsing->problem, "policy", parsing->path, "%s\"%s\" %s", parsing->place,
		    member, what);
	return -EINVAL;
}

/* ---- values ---- */

static int take_wish(const struct parsing *parsing, const json_t *value, enum policy_wish *ret_wish)
{
	if (!json_is_boolean(value))
		return wrong(parsing, "encryption", "must be true or false");
	*ret_wish = json_is_true(value) ? POLICY_ON : POLICY_OFF;
	return 0;
}

static int take_path(const struct parsing *parsing, const char *member, const json_t *value,
		     char ret_path[PATH_BYTES_MAX])
{
	const char *path = json_string_value(value);
	const size_t nr_bytes = path ? strlen(path) + 1 : 0;

	/* Relative to what? The daemon's folder is nobody's business. */
	if (!path || path[0] != '/')
		return wrong(parsing, member, "must be a path that begins with /");
	if (nr_bytes > PATH_BYTES_MAX)
		return wrong(parsing, member, "is too long");
	memcpy(ret_path, path, nr_bytes);
	return 0;
}

/* ---- an export ---- */

static int take_name(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy_export *export = into;
	const char *name = json_string_value(value);
	const size_t nr_bytes = name ? strlen(name) + 1 : 0;

	if (!name)
		return wrong(parsing, "name", "must be a text");
	if (nr_bytes > sizeof(export->name))
		return wrong(parsing, "name", "is too long");
	memcpy(export->name, name, nr_bytes);
	return 0;
}

static int take_image(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy_export *export = into;

	return take_path(parsing, "image", value, export->image);
}

/* Clients show it to people as it is: nothing that moves a terminal's cursor. */
static int take_description(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy_export *export = into;
	const char *text = json_string_value(value);
	const size_t nr_bytes = text ? strlen(text) + 1 : 0;

	if (!text)
		return wrong(parsing, "description", "must be a text");
	if (nr_bytes > sizeof(export->description))
		return wrong(parsing, "description", "is too long");
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return wrong(parsing, "description", "must be one line of text");
	memcpy(export->description, text, nr_bytes);
	return 0;
}

static int take_export_wish(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy_export *export = into;

	return take_wish(parsing, value, &export->encryption);
}

static const struct member export_members[] = {
	{ "name", take_name },
	{ "image", take_image },
	{ "encryption", take_export_wish },
	{ "description", take_description },
	{ NULL, NULL },
};

static int check_export(const struct parsing *parsing, const struct policy *policy,
			const json_t *value)
{
	const struct policy_export *export = &policy->exports[policy->nr_exports];

	if (!json_object_get(value, "name"))
		return wrong(parsing, "name", "is missing");
	if (!export->image[0] && export->encryption == POLICY_UNSAID && !export->description[0])
		return wrong(parsing, "image", "is missing");
	for (unsigned int i = 0; i < policy->nr_exports; i++) {
		if (strcmp(policy->exports[i].name, export->name) != 0)
			continue;
		problem_set(parsing->problem, "policy", parsing->path,
			    "%stwo exports have the name \"%s\"", parsing->place, export->name);
		return -EINVAL;
	}
	return 0;
}

/* ---- the policy ---- */

static int take_encryption(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy *policy = into;

	return take_wish(parsing, value, &policy->encryption);
}

static int take_directory(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy *policy = into;

	return take_path(parsing, "directory", value, policy->directory);
}

static int take_exports(struct parsing *parsing, const json_t *value, void *into)
{
	struct policy *policy = into;

	if (!json_is_array(value))
		return wrong(parsing, "exports", "must be a list");
	if (json_array_size(value) > EXPORTS_MAX)
		return wrong(parsing, "exports", "has more than 1024");
	policy->exports = calloc(json_array_size(value) + 1, sizeof(*policy->exports));
	if (!policy->exports) {
		problem_set(parsing->problem, "policy", parsing->path, "no memory");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < json_array_size(value); i++) {
		const json_t *export = json_array_get(value, i);
		int r;

		snprintf(parsing->place, sizeof(parsing->place), "exports[%u]: ", i);
		r = take_members(parsing, export, export_members, &policy->exports[i]);
		if (r == 0)
			r = check_export(parsing, policy, export);
		if (r < 0)
			return r;
		policy->nr_exports++;
	}
	parsing->place[0] = '\0';
	return 0;
}
_Static_assert(EXPORTS_MAX == 1024, "says the message");

static const struct member policy_members[] = {
	{ "encryption", take_encryption },
	{ "directory", take_directory },
	{ "exports", take_exports },
	{ NULL, NULL },
};

int policy_parse(const char *text, size_t nr_bytes, const char *path, struct policy *ret_policy,
		 struct problem *problem)
{
	struct parsing parsing = { .path = path, .problem = problem };
	json_error_t error;
	json_t *object = json_loadb(text, nr_bytes, JSON_REJECT_DUPLICATES, &error);
	int r;

	memset(ret_policy, 0, sizeof(*ret_policy));
	if (!object) {
		problem_set(problem, "policy", path, "line %d, column %d: %s", error.line,
			    error.column, error.text);
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EINVAL;
	}
	r = take_members(&parsing, object, policy_members, ret_policy);
	json_decref(object);
	return r;
}

void policy_done(struct policy *policy)
{
	free(policy->exports);
	memset(policy, 0, sizeof(*policy));
}
