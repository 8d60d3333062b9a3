// SPDX-License-Identifier: GPL-2.0-only
/*
 * A daemon at the other end: its memory, its end, its mistakes.
 *
 * Linux 6.1 cannot cancel a uring command, so nobody but this module can let a ring
 * go that has some parked here. Two things do. The session ends, and gives all of
 * them back, when the process that began it closes the node: by close(2), or by its
 * death, however it dies, since the kernel closes its files then (and does not wait
 * for such commands before that). And no command is parked for longer than two
 * renewals, for processes that close the ring and keep the node, or call exec().
 */
#include "shim.h"

#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static unsigned int renew_s = 30;
module_param(renew_s, uint, 0444);
MODULE_PARM_DESC(renew_s, "seconds after which a command that waits is given back, at most twice");

/* Who opens a node, and who ends a session. */
DEFINE_MUTEX(shim_sessions_lock);

/* ---- mistakes ---- */

static const struct {
	int error;
	const char *what;
} mistakes[SHIM_MISTAKES] = {
	[SHIM_MISTAKE_COMMAND] = { EINVAL, "an unknown command, or a reserved field is set" },
	[SHIM_MISTAKE_EARLY] = { ENOTCONN, "a command before it has said what it serves" },
	[SHIM_MISTAKE_UNMAPPED] = { EFAULT, "a command before it has mapped requests and data" },
	[SHIM_MISTAKE_TAG] = { ERANGE, "a tag out of range" },
	[SHIM_MISTAKE_TWICE] = { EBUSY, "a second fetch for one tag" },
	[SHIM_MISTAKE_NOTHING] = { ENOENT, "a commit of nothing" },
	[SHIM_MISTAKE_STALE] = { ESTALE, "a commit of a request that is over" },
	[SHIM_MISTAKE_RESULT] = { EDOM, "a commit with a result that is no errno" },
	[SHIM_MISTAKE_VERSION] = { EPROTONOSUPPORT, "it speaks another version of the ABI" },
	[SHIM_MISTAKE_SIZE] = { ERANGE, "its disk is not as long as the table's line" },
	[SHIM_MISTAKE_READ_ONLY] = { EROFS, "it may not write, and the device is writable" },
	[SHIM_MISTAKE_USER] = { EACCES, "it is neither root nor the user that made the device" },
};

int shim_session_mistake(struct shim_session *session, enum shim_mistake mistake)
{
	if (!test_and_set_bit(mistake, &session->mistakes) &&
	    __ratelimit(&session->device->complaints))
		DMERR("%s: refused process %d: %s", session->device->name,
		      task_tgid_nr(current), mistakes[mistake].what);
	return -mistakes[mistake].error;
}

/* ---- commands that go back ---- */

/* Take the parked tags' commands off them. Under the device's lock. */
static void unpark(struct shim_session *session, bool all, struct list_head *ret_tags)
{
	struct shim_tag *tag, *next;

	list_for_each_entry_safe(tag, next, &session->parked, parked) {
		if (!all && !tag->aged) {
			tag->aged = true;
			continue;
		}
		/* FREE would let the daemon fetch while the tag is in @ret_tags. */
		tag->state = SHIM_TAG_HANDING;
		list_move_tail(&tag->parked, ret_tags);
	}
}

static void give_back(struct shim_session *session, struct list_head *tags, int result)
{
	struct shim_device *device = session->device;
	struct shim_tag *tag, *next;

	list_for_each_entry_safe(tag, next, tags, parked) {
		struct io_uring_cmd *cmd = tag->cmd;

		list_del(&tag->parked);
		tag->cmd = NULL;
		spin_lock(&device->lock);
		tag->state = SHIM_TAG_FREE;
		spin_unlock(&device->lock);
		io_uring_cmd_done(cmd, result, 0, IO_URING_F_UNLOCKED);
	}
}

static void start_renewal(struct shim_session *session)
{
	const unsigned int seconds = clamp(renew_s, 1U, 3600U);

	queue_delayed_work(shim_workqueue, &session->renew_work, seconds * HZ);
}

static void renew(struct work_struct *work)
{
	struct shim_session *session =
		container_of(work, struct shim_session, renew_work.work);
	struct shim_device *device = session->device;
	LIST_HEAD(tags);

	spin_lock(&device->lock);
	if (session->dead) {
		spin_unlock(&device->lock);
		return;
	}
	unpark(session, false, &tags);
	start_renewal(session);
	spin_unlock(&device->lock);
	/* The file may be closed with its last command: free_session() waits for this work. */
	give_back(session, &tags, SHIM_RENEW);
}

/* Bios go back to the list, but those in somebody's hands, who will see that it is dead. */
static void requeue_all(struct shim_session *session)
{
	struct shim_device *device = session->device;

	for (unsigned int i = 0; i < device->queue_depth; i++)
		if (session->tags[i].state == SHIM_TAG_BUSY)
			shim_requeue(device, &session->tags[i]);
}

void shim_session_end(struct shim_session *session, int result)
{
	struct shim_device *device = session->device;
	LIST_HEAD(tags);

	lockdep_assert_held(&shim_sessions_lock);
	spin_lock(&device->lock);
	if (session->dead) {
		spin_unlock(&device->lock);
		return;
	}
	session->dead = true;
	device->session = NULL;
	device->serving = false;
	unpark(session, true, &tags);
	requeue_all(session);
	shim_start_timeout(device);
	spin_unlock(&device->lock);

	cancel_delayed_work(&session->renew_work);
	give_back(session, &tags, result);
	shim_settle(device);
}

/* ---- life ---- */

static size_t requests_bytes(const struct shim_device *device)
{
	return PAGE_ALIGN(device->queue_depth * sizeof(struct shim_request));
}

struct shim_session *shim_session_new(struct shim_device *device)
{
	const unsigned int nr_tags = device->queue_depth;
	struct shim_session *session = kvzalloc(struct_size(session, tags, nr_tags), GFP_KERNEL);

	if (!session)
		return NULL;
	/* Zeroed: what the kernel had there before is no business of the daemon's. */
	session->requests = vmalloc_user(requests_bytes(device));
	session->data = vmalloc_user(nr_tags * (size_t)device->max_io_bytes);
	if (!session->requests || !session->data) {
		vfree(session->requests);
		vfree(session->data);
		kvfree(session);
		return NULL;
	}
	INIT_LIST_HEAD(&session->parked);
	INIT_DELAYED_WORK(&session->renew_work, renew);
	session->device = device;
	get_device(&device->dev);
	start_renewal(session);
	return session;
}

void shim_session_free(struct shim_session *session)
{
	cancel_delayed_work_sync(&session->renew_work);
	put_device(&session->device->dev);
	vfree(session->requests);
	vfree(session->data);
	kvfree(session);
}
