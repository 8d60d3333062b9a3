/* SPDX-License-Identifier: MIT */
/* Sizes for people, in what the tools print and in what the daemon tells clients. */
#ifndef CONTROL_SIZE_TEXT_H
#define CONTROL_SIZE_TEXT_H

#include <stdint.h>

/* "64 MiB", "1.5 GiB", "512 bytes": cut after one decimal. Returns @text. */
enum { SIZE_TEXT_BYTES = 32 };
const char *size_text(uint64_t bytes, char text[SIZE_TEXT_BYTES]);

#endif
