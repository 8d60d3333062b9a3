/* SPDX-License-Identifier: MIT */
/*
 * A record of every operation that changes an image, with its data, in one
 * order for all rings (sealblkd --trace): for replaying what storage may hold
 * after a power cut at any moment. docs/trace.md tells how.
 *
 * The recording is done by a ring in front of another ring, which is put there
 * only when asked for: without a trace nothing of this is on any road.
 *
 * An ISSUE record is in the file before the operation is handed over, a DONE
 * record after the kernel has completed it and before its owner hears of that.
 * So an fdatasync covers exactly those writes whose DONE is before its ISSUE: as
 * much as the daemon itself may rely on, never less. WRITE, FDATASYNC, PUNCH and
 * ALLOCATE are recorded; a WRITE that the engine hands over in pieces is one.
 *
 * What is recorded is what storage gets: metadata and, of sealed planes,
 * ciphertext. Never a key; plaintext only of plain planes.
 */
#ifndef RING_TRACE_H
#define RING_TRACE_H

#include <stdint.h>

#include "base/compiler.h"
#include "ring/ring.h"
#include "sealblk/trace_format.h"

struct trace;

/*
 * Make the file @path, mode 0600, which must not exist. When it cannot be
 * written any more (its file system is full, say), one line is logged, the file
 * is left with the whole records so far, and the operations go on untraced: a
 * diagnosis never stops a disk. Returns 0 or a negative errno.
 */
int MUST_CHECK trace_new(const char *path, struct trace **ret_trace);

/* Its rings are gone. Writes the END record. Accepts NULL; always returns NULL. */
struct trace *trace_free(struct trace *trace);

/* Descriptor @fd is the image of @uuid at @path; before anything is written to it. Any thread. */
void trace_name_file(struct trace *trace, int fd, const uint8_t uuid[SEAL_UUID_BYTES],
		     const char *path);

/*
 * A ring in front of @inner, which it owns from here and frees with itself.
 * @number: for the records. *ret_ring belongs to one thread, as @inner did; all
 * that has been said of rings in ring.h holds. Allocates, now and while it runs.
 * Returns 0; or -ENOMEM: @inner is as before, and the caller's.
 */
int MUST_CHECK ring_trace_new(struct trace *trace, unsigned int number, struct ring *inner,
			      struct ring **ret_ring);

#endif
