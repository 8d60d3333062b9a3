/* SPDX-License-Identifier: MIT */
/* What is wrong with a VHD, for people. */
#ifndef IMAGE_VHD_PROBLEM_H
#define IMAGE_VHD_PROBLEM_H

#include "vhd/reason.h"

enum { VHD_PROBLEM_TEXT_BYTES = 192 };

/* A short English sentence part, with the numbers that belong to it. */
void vhd_problem_text(const struct vhd_problem *problem, char ret_text[VHD_PROBLEM_TEXT_BYTES]);

#endif
