/* SPDX-License-Identifier: MIT */
/* Fuzz target: the policy file. */
#include "fuzz.h"

#include "control/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	/* In memory of exactly its size: a read past the end is caught. */
	char *text = malloc(nr_bytes ? nr_bytes : 1);
	struct problem problem = { 0 };
	struct policy policy = { 0 };
	int r;

	assert(text);
	if (nr_bytes)
		memcpy(text, bytes, nr_bytes);
	r = policy_parse(text, nr_bytes, "/etc/policy", &policy, &problem);
	assert(r == 0 || problem.text[0]);
	for (unsigned int i = 0; r == 0 && i < policy.nr_exports; i++) {
		const struct policy_export *export = &policy.exports[i];

		assert(memchr(export->name, 0, sizeof(export->name)));
		assert(export->image[0] == '/' || export->image[0] == 0);
	}
	policy_done(&policy);
	free(text);
	return 0;
}
