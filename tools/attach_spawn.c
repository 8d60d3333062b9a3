/* SPDX-License-Identifier: MIT */
/* Starting a daemon: see attach_spawn.h. */
#include "attach_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys.h"

enum { ARGS_MAX = 12, ENVIRONMENT_MAX = 1024 };

static const char ready_line[] = "sealblkd: ready\n";
static const char error_prefix[] = "sealblkd: error: ";

/* ---- command line ---- */

struct command {
	char program[PATH_BYTES_MAX];
	char key_name[2 * PATH_BYTES_MAX];
	char *args[ARGS_MAX];
	char *environment[ENVIRONMENT_MAX];
	unsigned int nr_args;
};

static void add(struct command *command, const char *arg)
{
	/* posix_spawn() takes strings that it does not change. */
	command->args[command->nr_args++] = (char *)(uintptr_t)arg;
}

/* Beside this program, or wherever the shell finds it. */
static void find_program(struct command *command)
{
	static const char name[] = "sealblkd";
	ssize_t n = readlink("/proc/self/exe", command->program,
			     sizeof(command->program) - sizeof(name));
	char *slash = n > 0 ? memrchr(command->program, '/', (size_t)n) : NULL;

	if (slash)
		memcpy(slash + 1, name, sizeof(name));
	if (!slash || access(command->program, X_OK) < 0)
		memcpy(command->program, name, sizeof(name));
}

static const char *key_option_of(enum key_source_kind kind)
{
	static const char *const names[KEY_SOURCE_KINDS] = {
		[KEY_SOURCE_FILE] = "--key-file",
		[KEY_SOURCE_PASSPHRASE] = "--passphrase-file",
		[KEY_SOURCE_CREDENTIAL] = "--credential",
		[KEY_SOURCE_KERNEL] = "--keyring",
		[KEY_SOURCE_COMMAND] = "--key-command",
		[KEY_SOURCE_PKCS11] = "--pkcs11",
	};

	return names[kind];
}

/* The daemon works in another folder: see spawn_command(). */
static int add_key(struct command *command, const struct key_source *source)
{
	const bool is_path = source->kind == KEY_SOURCE_FILE ||
			     source->kind == KEY_SOURCE_PASSPHRASE;
	char folder[PATH_BYTES_MAX];

	add(command, key_option_of(source->kind));
	if (!is_path || source->name[0] == '/') {
		add(command, source->name);
		return 0;
	}
	if (!getcwd(folder, sizeof(folder)))
		return -errno;
	snprintf(command->key_name, sizeof(command->key_name), "%s/%s", folder, source->name);
	add(command, command->key_name);
	return 0;
}

/* What systemd has told this process is not meant for the daemon. */
static int copy_environment(struct command *command)
{
	static const char *const ours[] = { "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_" };
	unsigned int nr = 0;

	for (char **variable = environ; *variable; variable++) {
		bool is_ours = false;

		for (size_t i = 0; i < ARRAY_LEN(ours); i++)
			is_ours |= strncmp(*variable, ours[i], strlen(ours[i])) == 0;
		if (is_ours)
			continue;
		if (nr + 1 >= ARRAY_LEN(command->environment))
			return -E2BIG;
		command->environment[nr++] = *variable;
	}
	return 0;
}

static int make_command(struct command *command, const struct attach_job *job, const char *dm_name)
{
	int r;

	find_program(command);
	add(command, command->program);
	add(command, "--socket");
	add(command, job->place->socket);
	if (dm_name) {
		add(command, "--dm");
		add(command, dm_name);
	}
	r = add_key(command, &job->options->key_source);
	add(command, job->path);
	return r == 0 ? copy_environment(command) : r;
}

/* ---- process ---- */

/*
 * Standard output is the pipe in which it says "ready", standard error its log. It
 * holds neither a terminal nor the folder we stand in. Returns a positive errno.
 */
static int spawn_command(const struct command *command, const char *log, int ready_fd,
			 pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, ready_fd, 1);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, 2, log,
						     O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(&actions, "/");
	if (r == 0)
		r = posix_spawnattr_setsigmask(&attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setflags(&attributes,
					     POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
	if (r == 0)
		r = posix_spawnp(ret_pid, command->program, &actions, &attributes, command->args,
				 command->environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* Until it is ready, or has ended. */
static bool wait_for_ready(int fd)
{
	FILE *said = fdopen(fd, "r");
	bool ready = false;
	char line[256];

	if (!said) {
		close(fd);
		return false;
	}
	while (!ready && fgets(line, sizeof(line), said))
		ready = strcmp(line, ready_line) == 0;
	fclose(said);
	return ready;
}

/* Why it ended: the last error in its log, or else the last line. */
static void read_reason(const char *log, char *ret_reason, size_t reason_bytes)
{
	FILE *stream = fopen(log, "re");
	char line[sizeof(((struct problem *)NULL)->text)];
	bool found = false;

	snprintf(ret_reason, reason_bytes, "sealblkd has ended without a word");
	while (stream && fgets(line, sizeof(line), stream)) {
		const bool is_error = strncmp(line, error_prefix, strlen(error_prefix)) == 0;

		if (found && !is_error)
			continue;
		found |= is_error;
		line[strcspn(line, "\n")] = 0;
		snprintf(ret_reason, reason_bytes, "%s",
			 is_error ? line + strlen(error_prefix) : line);
	}
	if (stream)
		fclose(stream);
}

static int error_of(int status)
{
	static const struct {
		enum tool_exit code;
		int error;
	} rows[] = {
		{ TOOL_USAGE, -EINVAL },
		{ TOOL_REFUSED, -EUCLEAN },
		{ TOOL_KEY, -EKEYREJECTED },
	};

	for (size_t i = 0; WIFEXITED(status) && i < ARRAY_LEN(rows); i++)
		if (WEXITSTATUS(status) == (int)rows[i].code)
			return rows[i].error;
	return -EIO;
}

static int bury(pid_t pid, const char *log, struct problem *problem)
{
	int status = 0;

	/* It has closed its standard output: it is ending, or it is no sealblkd. */
	kill(pid, SIGTERM);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	read_reason(log, problem->text, sizeof(problem->text));
	return error_of(status);
}

static int spawn(const struct command *command, const struct attach_job *job, pid_t *ret_pid,
		 struct problem *problem)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		r = errno;
	} else {
		r = spawn_command(command, job->place->log, ends[1], ret_pid);
		close(ends[1]);
	}
	if (r == 0)
		return wait_for_ready(ends[0]) ? 0 : bury(*ret_pid, job->place->log, problem);
	problem_set(problem, "daemon", command->program, "cannot be started: %s", strerror(r));
	return -r;
}

int attach_spawn(const struct attach_job *job, const char *dm_name, pid_t *ret_pid,
		 struct problem *problem)
{
	struct command *command;
	int r;

	if (job->options->nr_key_sources != 1) {
		r = tool_check_key(job->options, problem);
		return r;
	}
	command = calloc(1, sizeof(*command));
	r = command ? make_command(command, job, dm_name) : -ENOMEM;
	if (r < 0)
		problem_set(problem, "image", job->path, "cannot start a sealblkd: %s",
			    strerror(-r));
	else
		r = spawn(command, job, ret_pid, problem);
	free(command);
	return r;
}
