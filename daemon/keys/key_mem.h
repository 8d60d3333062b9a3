/* SPDX-License-Identifier: MIT */
/*
 * Memory for key material: locked, kept out of core dumps, wiped on fork and
 * on free, between guard pages. The one place where keys live.
 */
#ifndef KEYS_KEY_MEM_H
#define KEYS_KEY_MEM_H

#include <stddef.h>

/*
 * Zeroed memory of its own pages, or NULL with errno set (ENOMEM also when the
 * lock limit, RLIMIT_MEMLOCK, is too small: locking is not optional).
 */
void *key_mem_new(size_t nr_bytes);

/* Wipes and unmaps; accepts NULL. Returns NULL: p = key_mem_free(p). */
void *key_mem_free(void *p);

/*
 * Wipe what calls that have returned left of keys on this thread's stack, 64 KiB
 * deep. Code that handles keys wipes what it knows of; but a library call that is
 * bound at its first use saves all vector registers there, whatever they hold.
 */
void key_mem_wipe_stack(void);

/*
 * Make this process undumpable: no core file, no ptrace by the same user, no
 * /proc/PID/mem. Call first thing in main(). Returns 0 or a negative errno.
 */
int key_mem_harden_process(void);

#endif
