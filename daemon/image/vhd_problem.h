/* SPDX-License-Identifier: MIT */
/* What is wrong with a VHD or VHDX, for people. */
#ifndef IMAGE_VHD_PROBLEM_H
#define IMAGE_VHD_PROBLEM_H

#include "vhd/reason.h"
#include "vhd/vhdx_reason.h"

enum { VHD_PROBLEM_TEXT_BYTES = 192 };

/* A short English sentence part, with the numbers that belong to it. */
void vhd_problem_text(const struct vhd_problem *problem, char ret_text[VHD_PROBLEM_TEXT_BYTES]);

/* The same, with the byte of the file where it stands. */
void vhdx_problem_text(const struct vhdx_problem *problem, char ret_text[VHD_PROBLEM_TEXT_BYTES]);

#endif
