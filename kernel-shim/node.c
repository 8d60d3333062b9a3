// SPDX-License-Identifier: GPL-2.0-only
/* A device's node, which its daemon opens: /dev/sealblk/NAME. */
#include "shim.h"

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

/* The mode of the node is 0600; should somebody have changed it, that is not enough. */
static bool is_trusted(const struct shim_device *device)
{
	return uid_eq(current_euid(), device->owner) || uid_eq(current_euid(), GLOBAL_ROOT_UID);
}

static int node_open(struct inode *inode, struct file *file)
{
	struct shim_device *device = container_of(inode->i_cdev, struct shim_device, cdev);
	struct shim_session *session;
	int r = 0;

	if (!is_trusted(device)) {
		DMERR_LIMIT("%s: refused process %d of user %u, who has not made the device",
			    device->name, task_tgid_nr(current),
			    from_kuid(&init_user_ns, current_euid()));
		return -EACCES;
	}
	session = shim_session_new(device);
	if (!session)
		return -ENOMEM;
	mutex_lock(&shim_sessions_lock);
	if (device->gone) {
		r = -ENODEV;
	} else if (device->session) {
		r = -EBUSY;
	} else {
		spin_lock(&device->lock);
		device->session = session;
		spin_unlock(&device->lock);
	}
	mutex_unlock(&shim_sessions_lock);
	if (r < 0) {
		DMERR_LIMIT("%s: refused process %d: %s", device->name, task_tgid_nr(current),
			    r == -EBUSY ? "another one has it open" : "the device is gone");
		shim_session_free(session);
		return r;
	}
	file->private_data = session;
	return nonseekable_open(inode, file);
}

/* Some process closes the node: the one that serves, or one that merely has it, too? */
static int node_flush(struct file *file, fl_owner_t closer)
{
	struct shim_session *session = file->private_data;

	mutex_lock(&shim_sessions_lock);
	if (session->opener == closer)
		shim_session_end(session, -ECANCELED);
	mutex_unlock(&shim_sessions_lock);
	return 0;
}

static int node_release(struct inode *inode, struct file *file)
{
	struct shim_session *session = file->private_data;

	mutex_lock(&shim_sessions_lock);
	shim_session_end(session, -ECANCELED);
	mutex_unlock(&shim_sessions_lock);
	shim_session_free(session);
	return 0;
}

/* ---- what it serves ---- */

static int judge_start(struct shim_session *session, const struct shim_start *start)
{
	const struct shim_device *device = session->device;

	if (start->abi_version != SHIM_ABI_VERSION)
		return shim_session_mistake(session, SHIM_MISTAKE_VERSION);
	if (start->reserved || start->flags & ~SHIM_START_READ_ONLY)
		return shim_session_mistake(session, SHIM_MISTAKE_COMMAND);
	if (!is_trusted(device))
		return shim_session_mistake(session, SHIM_MISTAKE_USER);
	if (start->disk_sectors != device->nr_sectors)
		return shim_session_mistake(session, SHIM_MISTAKE_SIZE);
	if (start->flags & SHIM_START_READ_ONLY && device->writable)
		return shim_session_mistake(session, SHIM_MISTAKE_READ_ONLY);
	return 0;
}

/* From here on the session ends when this process closes the node. */
static int begin(struct shim_session *session)
{
	int r = 0;

	mutex_lock(&shim_sessions_lock);
	spin_lock(&session->device->lock);
	if (session->dead)
		r = -ENODEV;
	else if (session->started)
		r = -EBUSY;
	else
		session->started = true;
	spin_unlock(&session->device->lock);
	if (r == 0)
		session->opener = current->files;
	mutex_unlock(&shim_sessions_lock);
	return r;
}

static long node_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct shim_session *session = file->private_data;
	const struct shim_device *device = session->device;
	struct shim_start start;
	int r;

	if (command != SHIM_IOC_START)
		return -ENOTTY;
	if (copy_from_user(&start, (void __user *)argument, sizeof(start)))
		return -EFAULT;
	r = judge_start(session, &start);
	if (r == 0)
		r = begin(session);
	start = (struct shim_start){
		.abi_version = SHIM_ABI_VERSION,
		.disk_sectors = device->nr_sectors,
		.queue_depth = device->queue_depth,
		.max_io_bytes = device->max_io_bytes,
	};
	if (copy_to_user((void __user *)argument, &start, sizeof(start)))
		return -EFAULT;
	return r;
}

/* ---- memory ---- */

static int map_requests(struct shim_session *session, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	vma->vm_flags &= ~VM_MAYWRITE;
	return remap_vmalloc_range(vma, session->requests, 0);
}

static int node_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shim_session *session = file->private_data;
	struct shim_device *device = session->device;
	const bool is_data = vma->vm_pgoff == SHIM_MAP_DATA >> PAGE_SHIFT;
	const size_t bytes = is_data ? device->queue_depth * (size_t)device->max_io_bytes :
				       PAGE_ALIGN(device->queue_depth *
						  sizeof(struct shim_request));
	int r;

	if (!is_data && vma->vm_pgoff != SHIM_MAP_REQUESTS >> PAGE_SHIFT)
		return -EINVAL;
	/* A private mapping would be a copy; part of one is no use. */
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_end - vma->vm_start != bytes)
		return -EINVAL;
	/* It holds plaintext: not in children, not in core dumps. */
	vma->vm_flags |= VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP;
	r = is_data ? remap_vmalloc_range(vma, session->data, 0) : map_requests(session, vma);
	if (r < 0)
		return r;
	spin_lock(&device->lock);
	if (is_data)
		session->mapped_data = true;
	else
		session->mapped_requests = true;
	spin_unlock(&device->lock);
	return 0;
}

/* ---- commands ---- */

/* The SQE may be changed by the daemon while we look: each field is read once. */
static int copy_command(const struct io_uring_cmd *cmd, struct shim_copied_command *ret_command)
{
	const struct shim_command *command = cmd->cmd;
	const bool is_fetch = cmd->cmd_op == SHIM_CMD_FETCH;

	ret_command->tag = READ_ONCE(command->tag);
	ret_command->result = READ_ONCE(command->result);
	ret_command->sequence = READ_ONCE(command->sequence);
	if (READ_ONCE(command->reserved) || READ_ONCE(command->reserved2))
		return -EINVAL;
	return is_fetch && (ret_command->result || ret_command->sequence) ? -EINVAL : 0;
}

static int check_command(struct shim_session *session, const struct io_uring_cmd *cmd,
			 struct shim_copied_command *ret_command)
{
	if (cmd->cmd_op < SHIM_CMD_FETCH || cmd->cmd_op > SHIM_CMD_COMMIT ||
	    copy_command(cmd, ret_command) < 0)
		return shim_session_mistake(session, SHIM_MISTAKE_COMMAND);
	if (!READ_ONCE(session->started))
		return shim_session_mistake(session, SHIM_MISTAKE_EARLY);
	if (!READ_ONCE(session->mapped_requests) || !READ_ONCE(session->mapped_data))
		return shim_session_mistake(session, SHIM_MISTAKE_UNMAPPED);
	if (ret_command->tag >= session->device->queue_depth)
		return shim_session_mistake(session, SHIM_MISTAKE_TAG);
	return 0;
}

static int node_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct shim_session *session = cmd->file->private_data;
	struct shim_copied_command command;
	int r = check_command(session, cmd, &command);

	if (r == 0 && cmd->cmd_op != SHIM_CMD_FETCH)
		r = shim_commit(session, &command);
	if (r == 0 && cmd->cmd_op != SHIM_CMD_COMMIT)
		r = shim_fetch(session, command.tag, cmd);
	return r;
}

const struct file_operations shim_node_fops = {
	.owner = THIS_MODULE,
	.open = node_open,
	.flush = node_flush,
	.release = node_release,
	.unlocked_ioctl = node_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = node_mmap,
	.uring_cmd = node_uring_cmd,
	.llseek = no_llseek,
};
