/* SPDX-License-Identifier: MIT */
/* Checking an image: is its base there, and still the one it was? */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "image/check_state.h"

/* @problem: as base.h and base_identity.h fill it in, "base PATH: ...". */
static void tell_base(struct check *check, enum check_level level, const char *advice,
		      const struct problem *problem)
{
	struct check_finding finding = { 0 };

	check->base_broken |= level == CHECK_PROBLEM;
	check_locate(&finding, CHECK_NOWHERE, 0, "base");
	check_means(&finding, "%s",
		    level == CHECK_NOTE ? "nothing is lost"
					: "the image is refused until that is right; what was "
					  "written to it is safe");
	check_advise(&finding, "%s", advice);
	check_tell(check, &finding, level, "%s", problem->text + strlen("base "));
}

static void check_found(struct check *check, const struct base_identity *identity, const char *path)
{
	static const char *const bring_back = "bring the base back as it was";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool touched = false;
	struct problem problem;
	struct base base;

	if (fd < 0) {
		problem_set(&problem, "base", path, "cannot be opened: %s", strerror(errno));
		tell_base(check, CHECK_PROBLEM, "make it readable", &problem);
		return;
	}
	if (base_open(&base, fd, path, identity->format, &base_opener_direct, &problem) < 0) {
		tell_base(check, CHECK_PROBLEM, bring_back, &problem);
		return;
	}
	if (base_identity_check(identity, &base, path, &touched, &problem) < 0) {
		tell_base(check, CHECK_PROBLEM, bring_back, &problem);
	} else if (touched) {
		problem_set(&problem, "base", path, "has a new modification time, and is the same");
		tell_base(check, CHECK_NOTE, "make sure that nobody has written to it", &problem);
	}
	base_close(&base);
}

/* What a search needs: about 17 KiB. */
struct search {
	struct base_identity identity;
	char path[PATH_BYTES_MAX];
	struct problem problem;
};

static void search(struct check *check, struct search *found)
{
	int best = check->names_choice.best;
	struct check_finding finding = { 0 };

	if (base_identity_decode(&check->names[best], &found->identity) < 0) {
		check_locate(&finding, best ? SEAL_NAMES_B : SEAL_NAMES_A, SEAL_NAMES_BYTES,
			     "name/value area %c", 'A' + best);
		check->names_choice.right[best] = false;
		check_means(&finding, "the image cannot be opened");
		check_advise(&finding, CHECK_RESTORE);
		check_tell(check, &finding, CHECK_PROBLEM, "does not describe the base soundly");
	} else if (base_identity_find(&found->identity, check->order->path, found->path) == 0) {
		check_found(check, &found->identity, found->path);
	} else {
		problem_set(&found->problem, "base", found->identity.path_absolute, "is missing");
		tell_base(check, CHECK_PROBLEM,
			  "bring it back there, or to the same place beside the image",
			  &found->problem);
	}
}

int check_base(struct check *check)
{
	struct search *found;

	if (!check->super->has_base || check->names_choice.best < 0 || check->base_known)
		return 0;
	found = malloc(sizeof(*found));
	if (!found)
		return -ENOMEM;
	search(check, found);
	free(found);
	return 0;
}
