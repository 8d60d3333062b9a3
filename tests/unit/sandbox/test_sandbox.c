/* SPDX-License-Identifier: MIT */
/*
 * The sandbox, by trying what is forbidden: each attempt is made by a process of its
 * own that has entered, and ends with an errno or is killed.
 */
#include "attempt.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

static struct intruder in; /* in a ring that was made before */

/* ---- programs, processes, memory ---- */

static int run_program(void)
{
	char name[] = "true";
	char *const argv[] = { name, NULL };

	return execv("/bin/true", argv);
}

static int begin_process(void)
{
	return fork();
}

static int trace_me(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int read_parent(void)
{
	char byte;
	struct iovec mine = { &byte, 1 }, there = { place, 1 };

	return (int)process_vm_readv(getppid(), &mine, 1, &there, 1, 0);
}

static int signal_parent(void)
{
	return kill(getppid(), 0);
}

static int signal_parents_thread(void)
{
	return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static int map_code(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return code == MAP_FAILED ? -1 : 0;
}

static int make_code(void)
{
	static char page[8192] __attribute__((aligned(4096)));

	return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* ---- network ---- */

static int make_inet_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int make_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int connect_out(void)
{
	struct sockaddr address = { .sa_family = AF_INET };

	return connect(a_socket, &address, sizeof(address));
}

static int bind_port(void)
{
	struct sockaddr address = { .sa_family = AF_INET };

	return bind(a_socket, &address, sizeof(address));
}

static int listen_there(void)
{
	return listen(a_socket, 1);
}

/* What is no listener any more can be connected by sending: MSG_FASTOPEN. */
static int end_listening(void)
{
	return shutdown(a_listener, SHUT_RD);
}

static int end_listening_of_twin(void)
{
	return shutdown(fcntl(a_listener, F_DUPFD, 0), SHUT_RD);
}

static int end_another(void)
{
	/* Not connected, but asked. */
	return shutdown(a_socket, SHUT_RDWR) < 0 && errno == ENOTCONN ? 0 : -1;
}

static int set_option(int level, int name)
{
	const int on = 1;

	return setsockopt(a_socket, level, name, &on, sizeof(on));
}

static int set_buffer(void)
{
	return set_option(SOL_SOCKET, SO_SNDBUF);
}

static int defer_connect(void)
{
	return set_option(IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
}

static int set_keys_to_receive(void)
{
	return set_option(SOL_TLS, TLS_RX);
}

static int set_no_delay(void)
{
	return set_option(IPPROTO_TCP, TCP_NODELAY);
}

/* Not connected, so refused, but asked. */
static int set_keys_to_send(void)
{
	const bool asked = setsockopt(a_socket, IPPROTO_TCP, TCP_ULP, "tls", 4) < 0 &&
			   set_option(SOL_TLS, TLS_TX) < 0;

	return asked ? 0 : -1;
}

/* ---- rings ---- */

static int make_ring(void)
{
	struct io_uring_params params = { 0 };

	return (int)syscall(SYS_io_uring_setup, 4, &params);
}

static int register_files(void)
{
	int fd = 0;

	return (int)syscall(SYS_io_uring_register, in.kernel.ring_fd, IORING_REGISTER_FILES, &fd,
			    1);
}

static int as_errno(int result)
{
	errno = -result;
	return result;
}

static int open_by_ring(void)
{
	if (ring_wait(in.ring, 0) < 0)
		return -1;
	io_uring_prep_openat(next_sqe(&in), AT_FDCWD, "run/file", O_RDONLY, 0);
	return as_errno(ask(&in));
}

static int connect_by_ring(void)
{
	struct sockaddr address = { .sa_family = AF_INET };

	if (ring_wait(in.ring, 0) < 0)
		return -1;
	io_uring_prep_connect(next_sqe(&in), a_socket, &address, sizeof(address));
	return as_errno(ask(&in));
}

static int make_socket_by_ring(void)
{
	if (ring_wait(in.ring, 0) < 0)
		return -1;
	io_uring_prep_rw(IORING_OP_SOCKET, next_sqe(&in), AF_INET, NULL, 0, SOCK_STREAM);
	return as_errno(ask(&in));
}

/* What a ring is for still works, and enabling it from within, too. */
static int write_by_ring(void)
{
	struct probe probe = {
		.op = { .kind = RING_SENDMSG, .fd = a_socket, .message = &(struct msghdr){ 0 } },
	};

	probe_submit(in.ring, &probe);
	while (probe.nr_done == 0)
		if (ring_wait(in.ring, 100) < 0)
			return -1;
	/* Not connected; but asked for and answered. */
	return probe.result == -EPIPE || probe.result == -ENOTCONN ? 0 : as_errno(probe.result);
}

/* ---- files ---- */

static int open_shadow(void)
{
	return open("/etc/shadow", O_RDONLY);
}

static int open_passwd(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static int open_memory(void)
{
	return open("/proc/self/mem", O_RDWR);
}

static int open_outside(void)
{
	return open("outside", O_WRONLY);
}

static int make_outside(void)
{
	return open("new", O_WRONLY | O_CREAT, 0600);
}

static int remove_outside(void)
{
	return unlink("outside");
}

static int list_outside(void)
{
	return open(".", O_RDONLY | O_DIRECTORY);
}

static int open_inside(void)
{
	return open("run/file", O_RDWR);
}

static int shorten_inside(void)
{
	return open("run/file", O_WRONLY | O_TRUNC);
}

static int make_and_remove_inside(void)
{
	if (open("run/new", O_RDWR | O_CREAT | O_EXCL, 0600) < 0)
		return -1;
	return unlink("run/new");
}

static int list_inside(void)
{
	return open("run", O_RDONLY | O_DIRECTORY);
}

static int read_beside_socket(void)
{
	return open("sockets/s", O_RDONLY);
}

static int remove_socket(void)
{
	return unlink("sockets/s");
}

static int make_beside_socket(void)
{
	return open("sockets/new", O_WRONLY | O_CREAT, 0600);
}

/* ---- what must go on working ---- */

static void *do_nothing(void *arg)
{
	return arg;
}

static int run_threads(void)
{
	pthread_t threads[4];
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(threads) && r == 0; i++)
		r = pthread_create(&threads[i], NULL, do_nothing, NULL);
	for (size_t i = 0; i < ARRAY_LEN(threads) && r == 0; i++)
		r = pthread_join(threads[i], NULL);
	errno = r;
	return r ? -1 : 0;
}

static int use_memory(void)
{
	char *large = malloc(64 << 20), *small = malloc(100);
	int r = large && small && getrandom(small, 100, 0) == 100 && mlock(small, 100) == 0;

	free(large);
	free(small);
	return r ? 0 : -1;
}

static int give_up(void)
{
	abort();
}

static int dump_again(void)
{
	return (int)syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0);
}

static const struct {
	const char *what;
	int (*act)(void);
	int wanted;
	int landlock_version; /* that it takes; else nothing is asked */
} attempts[] = {
	{ "running a program", run_program, KILLED, 0 },
	{ "fork", begin_process, KILLED, 0 },
	{ "ptrace", trace_me, KILLED, 0 },
	{ "reading another process", read_parent, KILLED, 0 },
	{ "signal to another process", signal_parent, KILLED, 0 },
	{ "signal to its thread", signal_parents_thread, KILLED, 0 },
	{ "mapping code", map_code, KILLED, 0 },
	{ "making memory executable", make_code, KILLED, 0 },
	{ "being dumped", dump_again, EINVAL, 0 },

	{ "socket(AF_INET)", make_inet_socket, KILLED, 0 },
	{ "socket(AF_UNIX)", make_unix_socket, KILLED, 0 },
	{ "connect", connect_out, KILLED, 0 },
	{ "bind", bind_port, KILLED, 0 },
	{ "listen", listen_there, KILLED, 0 },

	{ "shutdown of a listener", end_listening, KILLED, 0 },
	{ "shutdown of its twin", end_listening_of_twin, KILLED, 0 },
	{ "shutdown of another socket", end_another, 0, 0 },

	{ "an option of any socket", set_buffer, KILLED, 0 },
	{ "an option of TCP", defer_connect, KILLED, 0 },
	{ "keys to receive with", set_keys_to_receive, KILLED, 0 },
	{ "no delay", set_no_delay, 0, 0 },
	{ "keys to send with", set_keys_to_send, 0, 0 },

	{ "a ring without restrictions", make_ring, KILLED, 0 },
	{ "registering in a ring", register_files, KILLED, 0 },
	{ "open by a ring", open_by_ring, EACCES, 0 },
	{ "connect by a ring", connect_by_ring, EACCES, 0 },
	{ "socket by a ring", make_socket_by_ring, EACCES, 0 },
	{ "sending by a ring", write_by_ring, 0, 0 },

	{ "/etc/shadow", open_shadow, EACCES, 1 },
	{ "/etc/passwd", open_passwd, EACCES, 1 },
	{ "/proc/self/mem", open_memory, EACCES, 1 },
	{ "writing elsewhere", open_outside, EACCES, 1 },
	{ "making a file elsewhere", make_outside, EACCES, 1 },
	{ "removing a file elsewhere", remove_outside, EACCES, 1 },
	{ "listing a folder elsewhere", list_outside, EACCES, 1 },
	{ "shortening a file", shorten_inside, EACCES, 3 },
	{ "reading beside a socket", read_beside_socket, EACCES, 1 },
	{ "making a file beside a socket", make_beside_socket, EACCES, 1 },
	{ "using a file of the runtime directory", open_inside, 0, 0 },
	{ "making and removing one", make_and_remove_inside, 0, 0 },
	{ "listing it", list_inside, 0, 0 },
	{ "removing a socket", remove_socket, 0, 0 },

	{ "threads", run_threads, 0, 0 },
	{ "memory and random bytes", use_memory, 0, 0 },
	{ "abort", give_up, ABORTED, 0 },
};

Test(sandbox, forbids_what_the_daemon_does_not_do_and_allows_what_it_does, .init = set_up,
     .fini = done)
{
	const struct sandbox_state state = state_or_skip();

	for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
		int got;

		if (attempts[i].landlock_version > state.landlock_version)
			continue;
		/* A ring is its first user's. */
		break_in(&in);
		got = outcome(attempts[i].act);
		cr_expect_eq(got, attempts[i].wanted, "%s: %d, not %d (%d: killed)",
			     attempts[i].what, got, attempts[i].wanted, KILLED);
		ring_free(in.ring);
	}
}
