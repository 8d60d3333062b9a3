/* SPDX-License-Identifier: MIT */
/* The command line's exports and the policy's, in one list: see account.h. */
#include "account.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char image_suffix[] = ".seal";

/* Being put together. */
struct making {
	const struct options *options;
	struct helper *helper;
	struct problem *problem;
	struct policy policy; /* all unsaid when there is none */
	struct account *account;
};

static int refuse(const struct making *making, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int refuse(const struct making *making, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	problem_set(making->problem, "policy", making->options->policy, "%s", text);
	return -EINVAL;
}

/* ---- the list ---- */

static unsigned int find_export(const struct account *account, const char *name)
{
	unsigned int i = 0;

	while (i < account->nr_exports && strcmp(account->exports[i].name, name) != 0)
		i++;
	return i;
}

/* @folder: "" or where @image is. */
static int add_export(struct making *making, const char *name, const char *folder,
		      const char *image, enum policy_wish wish)
{
	struct account *account = making->account;
	const unsigned int number = account->nr_exports;
	const size_t name_bytes = strlen(name) + 1; /* each has been found short enough */
	const char *slash = folder[0] ? "/" : "";
	char *path;

	if (find_export(account, name) < number)
		return refuse(making, "two exports have the name \"%s\"", name);
	if (number == EXPORTS_MAX)
		return refuse(making, "more than %d exports: \"%s\" is one too many", EXPORTS_MAX,
			      name);
	if (asprintf(&path, "%s%s%s", folder, slash, image) < 0) {
		problem_set(making->problem, "image", image, "no memory");
		return -ENOMEM;
	}
	memcpy(account->exports[number].name, name, name_bytes);
	account->exports[number].image = path;
	account->wishes[number] = wish;
	account->nr_exports++;
	return 0;
}

static int add_command_line(struct making *making)
{
	int r = 0;

	for (unsigned int i = 0; i < making->options->nr_exports && r == 0; i++)
		r = add_export(making, making->options->exports[i].name, "",
			       making->options->exports[i].image, making->policy.encryption);
	return r;
}

static int add_listed(struct making *making)
{
	const struct policy *policy = &making->policy;
	int r = 0;

	for (unsigned int i = 0; i < policy->nr_exports && r == 0; i++) {
		const struct policy_export *export = &policy->exports[i];
		const unsigned int number = find_export(making->account, export->name);

		if (export->image[0])
			r = add_export(making, export->name, "", export->image,
				       export->encryption ? export->encryption
							  : policy->encryption);
		else if (number == making->account->nr_exports)
			r = refuse(making,
				   "the export \"%s\" wants an image: it is neither in the "
				   "directory nor on the command line",
				   export->name);
		else if (export->encryption != POLICY_UNSAID)
			making->account->wishes[number] = export->encryption;
		if (r == 0)
			memcpy(making->account->exports[number].description, export->description,
			       sizeof(export->description));
	}
	return r;
}

/* ---- the directory ---- */

/* Returns the bytes of the export's name, the file's without suffix, or 0: it is no image. */
static size_t name_bytes_of(const char *file)
{
	const size_t nr_bytes = strlen(file), suffix_bytes = sizeof(image_suffix) - 1;

	if (file[0] == '.' || nr_bytes <= suffix_bytes ||
	    strcmp(file + nr_bytes - suffix_bytes, image_suffix) != 0)
		return 0;
	return nr_bytes - suffix_bytes;
}

static int add_file(struct making *making, const char *file)
{
	char name[EXPORT_NAME_BYTES_MAX + 1];
	const size_t nr_bytes = name_bytes_of(file);
	json_t *utf8;

	if (nr_bytes == 0)
		return 0;
	/* A file's name has 255 bytes at most. */
	memcpy(name, file, nr_bytes);
	name[nr_bytes] = '\0';
	utf8 = json_string(name);
	json_decref(utf8);
	if (!utf8)
		return refuse(making, "in its directory, the name of \"%s\" is not UTF-8", file);
	return add_export(making, name, making->policy.directory, file, making->policy.encryption);
}
_Static_assert(EXPORT_NAME_BYTES_MAX >= NAME_MAX - 5, "the name of a file fits");

static int folder_failed(const struct making *making, int error)
{
	problem_set(making->problem, "policy", making->options->policy,
		    "its directory %s cannot be read: %s", making->policy.directory,
		    strerror(-error));
	return error;
}

static int by_name(const void *a, const void *b)
{
	const struct export_option *one = a, *other = b;

	return strcmp(one->name, other->name);
}

/* Owns @fd. In the order of their names, so that each start numbers them alike. */
static int add_files(struct making *making, int fd)
{
	struct account *account = making->account;
	const unsigned int first = account->nr_exports;
	DIR *folder = fdopendir(fd);
	const struct dirent *file = NULL;
	int r = 0;

	if (!folder) {
		r = -errno;
		close(fd);
		return folder_failed(making, r);
	}
	do {
		errno = 0;
		/* cppcheck-suppress readdirCalled ; nobody else reads this folder */
		file = readdir(folder);
		if (file)
			r = add_file(making, file->d_name);
		else if (errno)
			r = folder_failed(making, -errno);
	} while (file && r == 0);
	closedir(folder);
	/* They all have the same wish: that of the policy as a whole. */
	qsort(account->exports + first, account->nr_exports - first, sizeof(account->exports[0]),
	      by_name);
	return r;
}

static int add_directory(struct making *making)
{
	int fd = -1;
	int r;

	if (!making->policy.directory[0])
		return 0;
	r = helper_open(making->helper, making->policy.directory,
			O_RDONLY | O_DIRECTORY | O_NONBLOCK, &fd);
	if (r < 0)
		return folder_failed(making, r);
	return add_files(making, fd);
}

/* ---- the file ---- */

static int read_policy(struct making *making)
{
	const char *path = making->options->policy;
	char *text = malloc(POLICY_BYTES_MAX + 1);
	size_t nr_bytes = 0;
	int r = text ? helper_read_file(making->helper, path, text, POLICY_BYTES_MAX, &nr_bytes)
		     : -ENOMEM;

	if (r < 0)
		problem_set(making->problem, "policy", path, "cannot be read: %s",
			    r == -EINVAL ? "it is no file" : strerror(-r));
	else
		r = policy_parse(text, nr_bytes, path, &making->policy, making->problem);
	free(text);
	return r;
}

/* ---- all of it ---- */

static int check_required(const struct making *making)
{
	const struct account *account = making->account;

	for (unsigned int i = 0; i < account->nr_exports; i++)
		if (making->options->require_encryption && account->wishes[i] == POLICY_OFF)
			return refuse(making,
				      "it switches encryption off (of the export \"%s\"), which "
				      "--require-encryption forbids",
				      account->exports[i].name);
	return 0;
}

static int make(struct making *making)
{
	struct account *account = making->account;
	int r = making->options->policy ? read_policy(making) : 0;

	if (r == 0)
		r = add_command_line(making);
	if (r == 0)
		r = add_directory(making);
	if (r == 0)
		r = add_listed(making);
	if (r == 0)
		r = check_required(making);
	if (r == 0 && account->nr_exports == 0)
		r = refuse(making, "it has no image to serve, and neither has the command line");
	account->encryption = making->policy.encryption;
	account->read_s = making->options->policy ? (uint64_t)time(NULL) : 0;
	return r;
}

int account_read(const struct options *options, struct helper *helper, struct account **ret_account,
		 struct problem *problem)
{
	struct making *making = calloc(1, sizeof(*making));
	struct account *account = calloc(1, sizeof(*account));
	int r = -ENOMEM;

	if (making && account) {
		*making = (struct making){
			.options = options,
			.helper = helper,
			.problem = problem,
			.account = account,
		};
		r = make(making);
	} else {
		problem_set(problem, "list", "of exports", "no memory");
	}
	if (making)
		policy_done(&making->policy);
	free(making);
	if (r < 0) {
		account_free(account);
		return r;
	}
	*ret_account = account;
	return 0;
}

struct account *account_free(struct account *account)
{
	for (unsigned int i = 0; account && i < account->nr_exports; i++)
		free((void *)(uintptr_t)account->exports[i].image);
	free(account);
	return NULL;
}
