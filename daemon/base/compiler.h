/* SPDX-License-Identifier: MIT */
/* Small words for what the compiler can check or do for us. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stddef.h>

#define CLEANUP(fn)		__attribute__((cleanup(fn)))
#define MUST_CHECK		__attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define ARRAY_LEN(a)		(sizeof(a) / sizeof((a)[0]))
/*
 * A large array on the data path, each part of which is written before it is read. All
 * other variables are zeroed (-ftrivial-auto-var-init), should we have forgotten to.
 */
#define UNINITIALIZED			__attribute__((uninitialized))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
