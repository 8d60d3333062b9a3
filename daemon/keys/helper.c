/* SPDX-License-Identifier: MIT */
/*
 * The helper process and the calls to it. The socket's buffers are the
 * kernel's; at both ends key bytes lie in key memory only.
 */
#include "keys/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys/key_mem.h"
#include "sandbox/sandbox.h"

enum helper_op {
	HELPER_OPEN = 1,
	HELPER_READ_KEY = 2,
	HELPER_PROBE = 3,
	HELPER_KEEP_READABLE = 4,
	HELPER_LOCK = 5,
};

/* Between two processes of one program: host integers will do. */
struct request {
	uint32_t op;   /* enum helper_op */
	int32_t flags; /* open: as open()'s */
	uint32_t kind; /* read_key: enum key_source_kind */
	struct key_wanted wanted;
	char path[PATH_BYTES_MAX]; /* read_key: the source's name */
};

/* Carries one descriptor when an open went well, none otherwise. */
struct reply {
	int32_t result;	   /* 0 or a negative errno */
	uint32_t kind;	   /* read_key: as asked */
	uint32_t nr_bytes; /* read_key: of @bytes */
	uint8_t bytes[KEY_FILE_BYTES_MAX];
	char why[KEY_WHY_BYTES]; /* read_key: if it failed */
};

/* Room for one descriptor, aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* What the helper still does. */
struct lock {
	bool locked;
	unsigned int nr_readable;
	char readable[HELPER_READABLE_MAX][PATH_BYTES_MAX];
};

enum { ERRNO_MAX = 4095 };

static const char no_path[] = "-"; /* where a request must have one, and it means nothing */

static void replyp_free(struct reply **reply)
{
	*reply = key_mem_free(*reply);
}

/* ---- both ends ---- */

/* @fd: sent along unless negative. */
static int send_message(int socket, const void *message, size_t nr_bytes, int fd)
{
	union control control = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)message, .iov_len = nr_bytes };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	do {
		n = sendmsg(socket, &header, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* The descriptor that came with @header, or -1. */
static int received_fd(struct msghdr *header)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(header);
	int fd;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/*
 * One whole message of exactly @nr_bytes. *ret_fd: what came along, or -1; with
 * @ret_fd NULL the kernel drops it. Returns 0, -EPIPE at the end, -EPROTO for
 * any other size, or what recvmsg() said.
 */
static int receive_message(int socket, void *message, size_t nr_bytes, int *ret_fd)
{
	union control control = { 0 };
	struct iovec part = { .iov_base = message, .iov_len = nr_bytes };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;
	int fd;

	if (ret_fd) {
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	do {
		n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;

	fd = ret_fd ? received_fd(&header) : -1;
	if ((size_t)n != nr_bytes || header.msg_flags & MSG_TRUNC) {
		if (fd >= 0)
			close(fd);
		return -EPROTO;
	}
	if (ret_fd)
		*ret_fd = fd;
	return 0;
}

static bool open_flags_allowed(int flags)
{
	int mode = flags & O_ACCMODE;

	return (mode == O_RDONLY || mode == O_RDWR) &&
	       (flags & ~(O_ACCMODE | O_CLOEXEC | O_DIRECT | O_DIRECTORY | O_NONBLOCK)) == 0;
}

/* ---- the helper's end ---- */

static int serve_open(const struct request *request)
{
	int fd;

	if (!open_flags_allowed(request->flags))
		return -EINVAL;
	fd = open(request->path, request->flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return fd;
}

static int serve_read_key(const struct request *request, struct reply *reply)
{
	struct key_source source = { .name = request->path };
	struct key_secret *secret;
	int r;

	if (request->kind >= KEY_SOURCE_KINDS || request->wanted.nr_key_ids > KEY_SLOTS_MAX)
		return -EINVAL;
	source.kind = request->kind;
	r = key_source_read(&source, &request->wanted, &secret, reply->why);
	if (r < 0)
		return r;
	reply->kind = secret->kind;
	reply->nr_bytes = secret->nr_bytes;
	memcpy(reply->bytes, secret->bytes, secret->nr_bytes);
	key_mem_free(secret);
	return 0;
}

static bool is_readable(const struct lock *lock, const char *path)
{
	for (unsigned int i = 0; i < lock->nr_readable; i++)
		if (strcmp(path, lock->readable[i]) == 0)
			return true;
	return false;
}

/* Whoever asks may by now be somebody else than the daemon that was started. */
static bool is_allowed(const struct lock *lock, const struct request *request)
{
	if (!lock->locked || request->op == HELPER_PROBE)
		return true;
	if (request->op != HELPER_OPEN || (request->flags & O_ACCMODE) != O_RDONLY)
		return false;
	return request->flags & O_DIRECTORY || is_readable(lock, request->path);
}

static int serve_probe(struct request *request)
{
	int fd;

	request->flags = O_RDONLY | O_NONBLOCK;
	fd = serve_open(request);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int serve_keep_readable(const struct request *request, struct lock *lock)
{
	if (lock->nr_readable == HELPER_READABLE_MAX)
		return -E2BIG;
	memcpy(lock->readable[lock->nr_readable++], request->path, sizeof(request->path));
	return 0;
}

static int serve_lock(struct lock *lock)
{
	lock->locked = true;
	return sandbox_enter_helper();
}

/* The descriptor to send, or -1; the result is in @reply. */
static int serve(struct request *request, struct reply *reply, struct lock *lock)
{
	int fd;

	reply->result = -EINVAL;
	if (request->path[0] == '\0' || !memchr(request->path, '\0', sizeof(request->path)))
		return -1;
	if (!is_allowed(lock, request)) {
		reply->result = -EPERM;
		return -1;
	}
	if (request->op == HELPER_READ_KEY)
		reply->result = serve_read_key(request, reply);
	if (request->op == HELPER_PROBE)
		reply->result = serve_probe(request);
	if (request->op == HELPER_KEEP_READABLE)
		reply->result = serve_keep_readable(request, lock);
	if (request->op == HELPER_LOCK)
		reply->result = serve_lock(lock);
	if (request->op != HELPER_OPEN)
		return -1;
	fd = serve_open(request);
	reply->result = fd < 0 ? fd : 0;
	return fd;
}

/* A bad request is answered and survived; only a socket that fails ends this. */
static void serve_all(int socket, struct reply *reply)
{
	struct lock lock = { .locked = false };
	struct request request;
	int fd;
	int r;

	for (;;) {
		r = receive_message(socket, &request, sizeof(request), NULL);
		if (r < 0 && r != -EPROTO)
			return;
		fd = -1;
		reply->result = -EINVAL;
		if (r == 0)
			fd = serve(&request, reply, &lock);
		r = send_message(socket, reply, sizeof(*reply), fd);
		explicit_bzero(reply, sizeof(*reply));
		if (fd >= 0)
			close(fd);
		if (r < 0)
			return;
	}
}

/*
 * A terminal's ^C and the service manager's SIGTERM reach the helper too, but
 * the daemon still needs it while it shuts down, so those are ignored.
 */
static void reset_signals(void)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE };
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void helper_main(int socket, pid_t parent)
{
	struct reply *reply;

	/* If the parent died before the first line took hold, no signal will come. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, "sealblk-helper");
	reset_signals();
	reply = key_mem_new(sizeof(*reply));
	if (!reply)
		_exit(1);
	serve_all(socket, reply);
	key_mem_free(reply);
	_exit(0);
}

/* ---- the daemon's end ---- */

/* One request, one reply. @ret_fd as receive_message()'s. */
static int ask(struct helper *helper, const char *path, struct request *request,
	       struct reply *reply, int *ret_fd)
{
	size_t path_bytes = strlen(path) + 1;
	int r;

	if (path_bytes == 1)
		return -EINVAL;
	if (path_bytes > sizeof(request->path))
		return -ENAMETOOLONG;
	memcpy(request->path, path, path_bytes);
	r = send_message(helper->fd, request, sizeof(*request), -1);
	if (r == 0)
		r = receive_message(helper->fd, reply, sizeof(*reply), ret_fd);
	if (r < 0)
		return r;
	return reply->result > 0 || reply->result < -ERRNO_MAX ? -EPROTO : 0;
}

int helper_start(struct helper *helper)
{
	pid_t parent = getpid();
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		/* Held open here, it would keep the end of file from ever coming. */
		close(sockets[0]);
		helper_main(sockets[1], parent);
	}
	if (pid < 0) {
		int r = -errno;

		close(sockets[0]);
		close(sockets[1]);
		return r;
	}
	close(sockets[1]);
	*helper = (struct helper){ .fd = sockets[0], .pid = pid };
	return 0;
}

int helper_open(struct helper *helper, const char *path, int flags, int *ret_fd)
{
	struct request request = { .op = HELPER_OPEN, .flags = flags };
	struct reply reply = { .result = -EPROTO };
	int fd = -1;
	int r;

	if (!open_flags_allowed(flags))
		return -EINVAL;
	r = ask(helper, path, &request, &reply, &fd);
	if (r == 0)
		r = reply.result;
	if (r == 0 && fd < 0)
		r = -EPROTO;
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* A request whose answer is a number. */
static int ask_for_result(struct helper *helper, const char *path, struct request *request)
{
	struct reply reply = { .result = -EPROTO };
	int r = ask(helper, path, request, &reply, NULL);

	return r < 0 ? r : reply.result;
}

int helper_probe(struct helper *helper, const char *path)
{
	struct request request = { .op = HELPER_PROBE };

	return ask_for_result(helper, path, &request);
}

int helper_keep_readable(struct helper *helper, const char *path)
{
	struct request request = { .op = HELPER_KEEP_READABLE };

	return ask_for_result(helper, path, &request);
}

int helper_lock(struct helper *helper)
{
	struct request request = { .op = HELPER_LOCK };

	return ask_for_result(helper, no_path, &request);
}

/* The answer must be one, for a failure with its reason. */
static int judge_reply(struct reply *reply, enum key_source_kind kind)
{
	if (!memchr(reply->why, '\0', sizeof(reply->why)))
		return -EPROTO;
	if (reply->result < 0)
		return reply->result;
	if (reply->kind != key_source_secret_kind(kind) || reply->nr_bytes == 0 ||
	    reply->nr_bytes > sizeof(reply->bytes))
		return -EPROTO;
	return 0;
}

static int ask_for_key(struct helper *helper, const struct key_source *source,
		       const struct key_wanted *wanted, struct reply *reply)
{
	struct request request = {
		.op = HELPER_READ_KEY,
		.kind = source->kind,
		.wanted = *wanted,
	};
	int r = ask(helper, source->name, &request, reply, NULL);

	if (r == 0)
		r = judge_reply(reply, source->kind);
	if (r < 0 && r != reply->result)
		reply->why[0] = '\0';
	return r;
}

int helper_read_key(struct helper *helper, const struct key_source *source,
		    const struct key_wanted *wanted, struct key_secret **ret_secret,
		    char why[KEY_WHY_BYTES])
{
	CLEANUP(replyp_free) struct reply *reply = key_mem_new(sizeof(*reply));
	struct key_secret *secret = key_mem_new(sizeof(*secret));
	int r = reply && secret ? ask_for_key(helper, source, wanted, reply) : -ENOMEM;

	if (r < 0) {
		if (reply && reply->why[0])
			memcpy(why, reply->why, KEY_WHY_BYTES);
		else
			key_source_explain(source->kind, r, why);
		key_mem_free(secret);
		return r;
	}
	secret->kind = key_source_secret_kind(source->kind);
	secret->nr_bytes = reply->nr_bytes;
	memcpy(secret->bytes, reply->bytes, reply->nr_bytes);
	*ret_secret = secret;
	return 0;
}

bool helper_has_ended(struct helper *helper)
{
	if (helper->pid <= 0 || waitpid(helper->pid, NULL, WNOHANG) != helper->pid)
		return false;
	helper->pid = -1;
	return true;
}

void helper_stop(struct helper *helper)
{
	if (helper->pid == 0)
		return;
	close(helper->fd);
	while (helper->pid > 0 && waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*helper = (struct helper){ 0 };
}
