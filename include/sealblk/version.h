/* SPDX-License-Identifier: MIT */
/* The release this tree is. */
#ifndef SEALBLK_VERSION_H
#define SEALBLK_VERSION_H

#define SEALBLK_VERSION "0.1.0"

#endif
