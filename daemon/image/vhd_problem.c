/* SPDX-License-Identifier: MIT */
/* See vhd_problem.h. */
#include "image/vhd_problem.h"

#include <inttypes.h>
#include <stdio.h>

void vhd_problem_text(const struct vhd_problem *problem, char ret_text[VHD_PROBLEM_TEXT_BYTES])
{
	const size_t room = VHD_PROBLEM_TEXT_BYTES;
	const struct vhd_reason_words *words = vhd_reason_words(problem->reason);

	if (!words->stored)
		snprintf(ret_text, room, "%s", words->text);
	else if (!words->computed)
		snprintf(ret_text, room, "%s (%s %" PRIu64 ")", words->text, words->stored,
			 problem->stored);
	else if (words->hex)
		snprintf(ret_text, room, "%s (%s %08" PRIx64 ", %s %08" PRIx64 ")", words->text,
			 words->stored, problem->stored, words->computed, problem->computed);
	else
		snprintf(ret_text, room, "%s (%s %" PRIu64 ", %s %" PRIu64 ")", words->text,
			 words->stored, problem->stored, words->computed, problem->computed);
}

void vhdx_problem_text(const struct vhdx_problem *problem, char ret_text[VHD_PROBLEM_TEXT_BYTES])
{
	const size_t room = VHD_PROBLEM_TEXT_BYTES;
	const struct vhdx_reason_words *words = vhdx_reason_words(problem->reason);

	if (words->value)
		snprintf(ret_text, room, "%s (byte %" PRIu64 "; %s %" PRIu64 ")", words->text,
			 problem->at_bytes, words->value, problem->value);
	else
		snprintf(ret_text, room, "%s (byte %" PRIu64 ")", words->text, problem->at_bytes);
}
