/* SPDX-License-Identifier: MIT */
/*
 * Between the device-mapper target dm-sealblk and the daemon that serves its
 * devices, version 1. kernel-shim/README.md tells the whole story. All integers
 * are in the processor's byte order.
 *
 * Each device has a node, SHIM_FOLDER NAME. The daemon opens it, says what it
 * serves (SHIM_IOC_START), maps the requests and the data, and keeps one
 * IORING_OP_URING_CMD per tag under way: FETCH to begin with, and then
 * COMMIT_AND_FETCH. Its completion means that a request is under that tag.
 */
#ifndef SEALBLK_SHIM_UAPI_H
#define SEALBLK_SHIM_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SHIM_ABI_VERSION 1

#define SHIM_FOLDER "/dev/sealblk/"

/* Names, and the numbers of a table line. */
enum {
	SHIM_NAME_BYTES_MAX = 63, /* of letters, digits and "_+.-", no "." or "-" in front */
	SHIM_QUEUE_DEPTH_DEFAULT = 64,
	SHIM_QUEUE_DEPTH_MAX = 256,
	SHIM_IO_KIB_DEFAULT = 256,
	SHIM_IO_KIB_MIN = 4,
	SHIM_IO_KIB_MAX = 4096,	       /* and always a multiple of 4 */
	SHIM_DATA_KIB_MAX = 256 << 10, /* queue_depth times max_io_kib */
	SHIM_TIMEOUT_S_MAX = 86400,
};

/*
 * Once, before anything else. What the daemon says comes back as what the device
 * has, also when it is refused:
 *
 * EPROTONOSUPPORT another abi_version
 * EINVAL          a reserved field or an unknown flag is set
 * ERANGE          the image has not as many sectors as the device
 * EROFS           the daemon may not write, and the device is writable
 * EACCES          neither root nor the user that made the device
 * EBUSY           has been said already
 * ENODEV          the device has been removed
 */
struct shim_start {
	__u32 abi_version;
	__u32 flags; /* SHIM_START_* */
	__u64 disk_sectors;
	__u32 queue_depth;  /* out: tags are 0 to queue_depth - 1 */
	__u32 max_io_bytes; /* out: of a READ's or WRITE's data; whole pages */
	__u64 reserved;
};

#define SHIM_START_READ_ONLY 1u

#define SHIM_IOC_START _IOWR(0xb5, 1, struct shim_start)

/*
 * Where the two mappings are, MAP_SHARED: struct shim_request[queue_depth], for
 * reading only; and queue_depth times max_io_bytes of data, tag by tag.
 */
#define SHIM_MAP_REQUESTS 0ull
#define SHIM_MAP_DATA	  0x40000000ull

enum {
	SHIM_OP_READ = 0,  /* into the tag's data */
	SHIM_OP_WRITE = 1, /* of the tag's data */
	SHIM_OP_FLUSH = 2, /* all that was committed before it; no sectors */
	SHIM_OP_DISCARD = 3,
	SHIM_OP_ZERO = 4,
};

#define SHIM_FUA     1u /* WRITE, DISCARD, ZERO: durable before it is committed */
#define SHIM_NO_HOLE 2u /* ZERO: keep the space; of max_io_bytes at most */

struct shim_request {
	__u64 first_sector; /* of 512 bytes, from the beginning of the target */
	__u32 nr_sectors;
	__u32 sequence; /* to be returned with the result */
	__u8 op;	/* SHIM_OP_* */
	__u8 flags;	/* SHIM_FUA, SHIM_NO_HOLE */
	__u8 reserved[14];
};

/* sqe->cmd_op. */
enum {
	SHIM_CMD_FETCH = 1,	       /* @tag alone is looked at; the rest must be 0 */
	SHIM_CMD_COMMIT_AND_FETCH = 2, /* @tag's request is done; and the next one */
	SHIM_CMD_COMMIT = 3,	       /* the same, and no more for this tag */
};

/* sqe->cmd: an ordinary SQE has room for 16 bytes. */
struct shim_command {
	__u16 tag;
	__u16 reserved;
	__s32 result; /* 0 or a negative errno */
	__u32 sequence;
	__u32 reserved2;
};

/*
 * What a command's completion says. A command that waits for a request is given
 * back every now and then, since Linux 6.1 cannot cancel it.
 *
 * SHIM_REQUEST requests[tag] is to be done; of COMMIT: done
 * SHIM_RENEW   there is none: FETCH again
 * -ECANCELED   the node was closed by this process; what was not committed goes
 *              to the next daemon
 * -ENODEV      the device has been removed
 *
 * and refused, with one line in the kernel's log for each kind:
 *
 * -EINVAL      unknown command, or a reserved field is set
 * -ENOTCONN    before SHIM_IOC_START
 * -EFAULT      before both mappings were made
 * -ERANGE      no such tag
 * -EBUSY       FETCH: the tag has a command or a request already
 * -ENOENT      COMMIT: no request is under this tag
 * -ESTALE      COMMIT: of another request than the one under this tag
 * -EDOM        COMMIT: the result is neither 0 nor a negative errno; the request
 *              is still to be committed
 */
enum {
	SHIM_REQUEST = 0,
	SHIM_RENEW = 1,
};

#endif
