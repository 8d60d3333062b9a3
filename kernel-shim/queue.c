// SPDX-License-Identifier: GPL-2.0-only
/*
 * The road of a bio: shim_queue_bio -> hand_over -> the daemon -> shim_commit.
 *
 * Data is copied between a bio and its tag's memory, so the daemon never touches
 * a page of anybody else's, and a bio can be handed out again as often as daemons die.
 */
#include "shim.h"

#include <linux/bvec.h>
#include <linux/jiffies.h>

/* ---- between a bio and what the daemon has mapped ---- */

static u8 *data_of(const struct shim_session *session, const struct shim_tag *tag)
{
	return session->data + (tag - session->tags) * (size_t)session->device->max_io_bytes;
}

static void copy_from_bio(u8 *data, struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_for_each_segment(bv, bio, iter) {
		memcpy_from_bvec((char *)data, &bv);
		data += bv.bv_len;
	}
}

static void copy_to_bio(struct bio *bio, const u8 *data)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_for_each_segment(bv, bio, iter) {
		memcpy_to_bvec(&bv, (const char *)data);
		data += bv.bv_len;
	}
}

static u8 op_of(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		return SHIM_OP_READ;
	case REQ_OP_DISCARD:
		return SHIM_OP_DISCARD;
	case REQ_OP_WRITE_ZEROES:
		return SHIM_OP_ZERO;
	default:
		/* Nothing else is mapped; device-mapper makes a flush a write without data. */
		return bio_sectors(bio) ? SHIM_OP_WRITE : SHIM_OP_FLUSH;
	}
}

/* What the daemon reads is written here, and never read again. */
static void describe(struct shim_request *request, const struct bio *bio, u32 sequence)
{
	const u8 op = op_of(bio);
	u8 flags = 0;

	if (op != SHIM_OP_READ && op != SHIM_OP_FLUSH && bio->bi_opf & REQ_FUA)
		flags |= SHIM_FUA;
	if (op == SHIM_OP_ZERO && bio->bi_opf & REQ_NOUNMAP)
		flags |= SHIM_NO_HOLE;
	*request = (struct shim_request){
		.first_sector = op == SHIM_OP_FLUSH ? 0 : bio->bi_iter.bi_sector,
		.nr_sectors = bio_sectors(bio),
		.sequence = sequence,
		.op = op,
		.flags = flags,
	};
}

/* ---- waiting ---- */

/* Under the device's lock. */
static struct bio *take_waiting(struct shim_device *device)
{
	struct shim_io *io = list_first_entry(&device->waiting, struct shim_io, list);

	list_del(&io->list);
	device->nr_waiting--;
	return shim_bio_of(io);
}

void shim_requeue(struct shim_device *device, struct shim_tag *tag)
{
	struct shim_io *io = shim_io_of(tag->bio);
	struct shim_io *later;

	lockdep_assert_held(&device->lock);
	tag->bio = NULL;
	tag->state = SHIM_TAG_FREE;
	device->nr_busy--;
	/* Those that were under tags are among the oldest: the place is near the head. */
	list_for_each_entry(later, &device->waiting, list)
		if (later->order > io->order)
			break;
	list_add_tail(&io->list, &later->list);
	device->nr_waiting++;
}

static void end_all(struct list_head *ios, blk_status_t status)
{
	struct shim_io *io, *next;

	list_for_each_entry_safe(io, next, ios, list) {
		struct bio *bio = shim_bio_of(io);

		bio->bi_status = status;
		bio_endio(bio);
	}
}

void shim_start_timeout(struct shim_device *device)
{
	lockdep_assert_held(&device->lock);
	if (device->serving || device->gone || !device->timeout_s) {
		device->failing = false;
		return;
	}
	device->deadline = jiffies + device->timeout_s * HZ;
	mod_delayed_work(shim_workqueue, &device->timeout_work, device->timeout_s * HZ);
}

void shim_timeout_work(struct work_struct *work)
{
	struct shim_device *device =
		container_of(work, struct shim_device, timeout_work.work);
	LIST_HEAD(ios);

	spin_lock(&device->lock);
	/* A daemon may have come, or the time been changed, while this was on its way. */
	if (!device->serving && device->timeout_s &&
	    time_after_eq(jiffies, device->deadline)) {
		device->failing = true;
		list_splice_init(&device->waiting, &ios);
		device->nr_waiting = 0;
	}
	spin_unlock(&device->lock);
	if (!list_empty(&ios))
		DMERR("%s: no daemon for %u s: requests fail", device->name, device->timeout_s);
	end_all(&ios, BLK_STS_IOERR);
}

/* ---- to the daemon ---- */

/* Returns what its command completes with. The tag's state is HANDING, and ours. */
static int hand_over(struct shim_session *session, struct shim_tag *tag)
{
	struct shim_device *device = session->device;
	int result = SHIM_REQUEST;

	tag->sequence++;
	describe(&session->requests[tag - session->tags], tag->bio, tag->sequence);
	if (op_of(tag->bio) == SHIM_OP_WRITE)
		copy_from_bio(data_of(session, tag), tag->bio);

	spin_lock(&device->lock);
	if (session->dead) {
		shim_requeue(device, tag);
		result = -ECANCELED;
	} else {
		tag->state = SHIM_TAG_BUSY;
	}
	spin_unlock(&device->lock);
	return result;
}

/* The bio that waits longest goes to @tag. Under the device's lock. */
static void assign(struct shim_device *device, struct shim_tag *tag)
{
	tag->bio = take_waiting(device);
	tag->state = SHIM_TAG_HANDING;
	device->nr_busy++;
}

/* Returns false when there is nothing to do. */
static bool settle_one(struct shim_device *device)
{
	struct shim_session *session;
	struct io_uring_cmd *cmd;
	struct shim_tag *tag;
	LIST_HEAD(ios);

	spin_lock(&device->lock);
	session = device->session;
	if (list_empty(&device->waiting) ||
	    (!device->handing_back && (!session || list_empty(&session->parked)))) {
		spin_unlock(&device->lock);
		return false;
	}
	if (device->handing_back) {
		list_splice_init(&device->waiting, &ios);
		device->nr_waiting = 0;
		spin_unlock(&device->lock);
		end_all(&ios, BLK_STS_DM_REQUEUE);
		return true;
	}
	tag = list_first_entry(&session->parked, struct shim_tag, parked);
	list_del(&tag->parked);
	cmd = tag->cmd;
	tag->cmd = NULL;
	assign(device, tag);
	spin_unlock(&device->lock);

	/* Until its command is done the session's file is held. */
	io_uring_cmd_done(cmd, hand_over(session, tag), 0, IO_URING_F_UNLOCKED);
	return true;
}

void shim_settle(struct shim_device *device)
{
	while (settle_one(device))
		;
}

int shim_queue_bio(struct shim_device *device, struct bio *bio)
{
	struct shim_io *io = shim_io_of(bio);

	spin_lock(&device->lock);
	if (device->handing_back || device->failing) {
		const bool handing_back = device->handing_back;

		spin_unlock(&device->lock);
		return handing_back ? DM_MAPIO_REQUEUE : DM_MAPIO_KILL;
	}
	io->order = device->next_order++;
	list_add_tail(&io->list, &device->waiting);
	device->nr_waiting++;
	spin_unlock(&device->lock);
	shim_settle(device);
	return DM_MAPIO_SUBMITTED;
}

/* ---- from the daemon ---- */

/* Under the device's lock. */
static void begin_serving(struct shim_device *device)
{
	if (device->serving)
		return;
	device->serving = true;
	device->failing = false;
	device->nr_sessions++;
}

int shim_fetch(struct shim_session *session, u16 nr, struct io_uring_cmd *cmd)
{
	struct shim_device *device = session->device;
	struct shim_tag *tag = &session->tags[nr];
	int result;

	spin_lock(&device->lock);
	if (session->dead || tag->state != SHIM_TAG_FREE) {
		const bool dead = session->dead;

		spin_unlock(&device->lock);
		return dead ? -ECANCELED : shim_session_mistake(session, SHIM_MISTAKE_TWICE);
	}
	begin_serving(device);
	if (list_empty(&device->waiting)) {
		tag->state = SHIM_TAG_PARKED;
		tag->aged = false;
		tag->cmd = cmd;
		list_add_tail(&tag->parked, &session->parked);
		spin_unlock(&device->lock);
		return -EIOCBQUEUED;
	}
	assign(device, tag);
	spin_unlock(&device->lock);
	result = hand_over(session, tag);
	if (result < 0)
		shim_settle(device);
	return result;
}

/*
 * The daemon's word for it, but none that means something else to the block layer:
 * -EREMCHG, say, would have device-mapper send the bio again and again.
 */
static blk_status_t status_of(int result)
{
	switch (result) {
	case 0:
		return BLK_STS_OK;
	case -ENOSPC:
		return BLK_STS_NOSPC;
	case -EOPNOTSUPP:
		return BLK_STS_NOTSUPP;
	default:
		return BLK_STS_IOERR;
	}
}

/* Takes the bio from its tag, whose state is then COMMITTING, and ours; or finds a mistake. */
static int take_committed(struct shim_session *session,
			  const struct shim_copied_command *command, struct bio **ret_bio)
{
	struct shim_tag *tag = &session->tags[command->tag];

	if (session->dead)
		return -ECANCELED;
	if (tag->state != SHIM_TAG_BUSY)
		return SHIM_MISTAKE_NOTHING;
	if (tag->sequence != command->sequence)
		return SHIM_MISTAKE_STALE;
	if (command->result > 0 || command->result < -MAX_ERRNO)
		return SHIM_MISTAKE_RESULT;
	tag->state = SHIM_TAG_COMMITTING;
	*ret_bio = tag->bio;
	tag->bio = NULL;
	session->device->nr_busy--;
	session->device->nr_done++;
	return 0;
}

int shim_commit(struct shim_session *session, const struct shim_copied_command *command)
{
	struct shim_device *device = session->device;
	struct shim_tag *tag = &session->tags[command->tag];
	struct bio *bio = NULL;
	int r;

	spin_lock(&device->lock);
	r = take_committed(session, command, &bio);
	spin_unlock(&device->lock);
	if (r < 0)
		return r;
	if (!bio)
		return shim_session_mistake(session, r);

	if (command->result == 0 && op_of(bio) == SHIM_OP_READ)
		copy_to_bio(bio, data_of(session, tag));
	spin_lock(&device->lock);
	tag->state = SHIM_TAG_FREE;
	spin_unlock(&device->lock);
	bio->bi_status = status_of(command->result);
	bio_endio(bio);
	return 0;
}
