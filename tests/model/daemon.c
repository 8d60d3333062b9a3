/* SPDX-License-Identifier: MIT */
/* The daemon under test: see daemon.h. */
#include "model/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	PATH_BYTES = 512,
	PATIENCE_MS = 20000,	/* until a daemon that was struck is dead */
	HELPER_MS = 5000,	/* until its helper has followed */
	BITE_BYTES = 256 << 10, /* taken per millisecond */
	EATEN_BYTES = 1 << 30,
};

static const char *const names[DEATHS] = { "term", "kill", "segv", "oom" };
static const int signals[DEATHS] = { SIGTERM, SIGKILL, SIGSEGV, SIGKILL };

bool death_of_name(const char *name, enum death *ret_death)
{
	for (unsigned int i = 0; i < DEATHS; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret_death = (enum death)i;
			return true;
		}
	return false;
}

/* ---- small files ---- */

/* Returns false with errno. */
static bool write_text(const char *folder, const char *name, const char *text)
{
	char path[PATH_BYTES];
	ssize_t written;
	int fd, error;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text));
	error = errno;
	close(fd);
	errno = error;
	return written == (ssize_t)strlen(text);
}

static bool read_text(const char *folder, const char *name, char *text, size_t nr_bytes)
{
	char path[PATH_BYTES];
	ssize_t nr;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	nr = read(fd, text, nr_bytes - 1);
	close(fd);
	text[nr < 0 ? 0 : nr] = '\0';
	return nr >= 0;
}

static void pause_ms(unsigned int ms)
{
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* ---- the cgroup: version 2, or else version 1 ---- */

static bool is_version_2(const struct daemon *daemon)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/memory.max", daemon->cgroup);
	return access(path, F_OK) == 0;
}

static uint64_t oom_kills(const struct daemon *daemon)
{
	const char *file = is_version_2(daemon) ? "memory.events" : "memory.oom_control";
	char text[1024];
	const char *at;

	if (!read_text(daemon->cgroup, file, text, sizeof(text)))
		return 0;
	at = strstr(text, "oom_kill ");
	return at ? strtoull(at + strlen("oom_kill "), NULL, 10) : 0;
}

static bool set_limit(const struct daemon *daemon, uint64_t nr_bytes)
{
	const char *name = is_version_2(daemon) ? "memory.max" : "memory.limit_in_bytes";
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, nr_bytes);
	if (nr_bytes == 0)
		strcpy(text, is_version_2(daemon) ? "max" : "-1");
	return write_text(daemon->cgroup, name, text);
}

const char *daemon_limit_memory(struct daemon *daemon, uint64_t nr_bytes)
{
	/* What others have left in the cgroup may be more than that. */
	return set_limit(daemon, nr_bytes) || errno == EBUSY ? NULL : "cannot limit the memory";
}

/*
 * A neighbour in the cgroup that takes all that is left, a little at a time, and
 * that the kernel may not kill.
 */
static _Noreturn void eat_memory(const struct daemon *daemon, pid_t parent)
{
	char *memory = mmap(NULL, EATEN_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED || !write_text("/proc/self", "oom_score_adj", "-1000") ||
	    !write_text(daemon->cgroup, "cgroup.procs", "0"))
		_exit(1);
	for (size_t at = 0; at < EATEN_BYTES && getppid() == parent; at += BITE_BYTES) {
		memset(memory + at, 1, BITE_BYTES);
		pause_ms(1);
	}
	_exit(0);
}

/* No more than now, and a neighbour that wants some of it. */
static const char *starve(struct daemon *daemon)
{
	const char *name = is_version_2(daemon) ? "memory.current" : "memory.usage_in_bytes";
	pid_t parent = getpid();
	char usage[32];

	daemon->oom_kills = oom_kills(daemon);
	if (!read_text(daemon->cgroup, name, usage, sizeof(usage)) ||
	    !set_limit(daemon, strtoull(usage, NULL, 10)))
		return "cannot limit the memory to what is used";
	daemon->eater = fork();
	if (daemon->eater == 0)
		eat_memory(daemon, parent);
	return daemon->eater > 0 ? NULL : "fork";
}

/* ---- life and death ---- */

const char *daemon_start(struct daemon *daemon)
{
	daemon->helper = 0;
	daemon->pid = fork();
	if (daemon->pid < 0)
		return "fork";
	if (daemon->pid > 0)
		return NULL;
	if (daemon->cgroup && !write_text(daemon->cgroup, "cgroup.procs", "0"))
		_exit(126);
	execv(daemon->argv[0], daemon->argv);
	_exit(127);
}

/* Its only child, 0 when there is none (yet). */
static pid_t find_helper(pid_t pid)
{
	char folder[64], text[64];

	snprintf(folder, sizeof(folder), "/proc/%d/task/%d", pid, pid);
	if (!read_text(folder, "children", text, sizeof(text)))
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

const char *daemon_strike(struct daemon *daemon, enum death how)
{
	daemon->helper = find_helper(daemon->pid);
	if (how == DEATH_OOM)
		return starve(daemon);
	return kill(daemon->pid, signals[how]) == 0 ? NULL : "cannot send a signal";
}

/* Gone, or waiting for whoever inherited it to take note. */
static bool is_over(pid_t pid)
{
	char folder[64], text[256];
	const char *at;

	snprintf(folder, sizeof(folder), "/proc/%d", pid);
	if (!read_text(folder, "stat", text, sizeof(text)))
		return true;
	at = strrchr(text, ')');
	return at && (at[2] == 'Z' || at[2] == 'X');
}

static const char *judge(const struct daemon *daemon, enum death how, int status)
{
	if (how == DEATH_TERM)
		return WIFEXITED(status) && WEXITSTATUS(status) == 0
			       ? NULL
			       : "the daemon did not end well";
	if (!WIFSIGNALED(status) || WTERMSIG(status) != signals[how])
		return "the daemon did not die by the signal";
	if (WCOREDUMP(status))
		return "the daemon left a core";
	if (how == DEATH_OOM && oom_kills(daemon) == daemon->oom_kills)
		return "the daemon was killed, but not by the kernel for its memory";
	return NULL;
}

const char *daemon_bury(struct daemon *daemon, enum death how)
{
	const char *problem;
	pid_t pid = 0;
	int status = 0;

	for (int ms = 0; ms < PATIENCE_MS && pid == 0; ms++) {
		pid = waitpid(daemon->pid, &status, WNOHANG);
		if (pid == 0)
			pause_ms(1);
	}
	if (pid != daemon->pid)
		return "the daemon does not die";
	daemon->pid = 0;
	if (daemon->eater) {
		kill(daemon->eater, SIGKILL);
		waitpid(daemon->eater, NULL, 0);
		daemon->eater = 0;
	}
	problem = judge(daemon, how, status);
	for (int ms = 0; ms < HELPER_MS && daemon->helper && !problem; ms++) {
		if (is_over(daemon->helper))
			return NULL;
		pause_ms(1);
	}
	return daemon->helper && !problem ? "the daemon's helper outlives it" : problem;
}
