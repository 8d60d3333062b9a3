/* SPDX-License-Identifier: MIT */
/* Reading through each connection: see nbd_probe.h. */
#include "nbd_probe.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	READ_BYTES = 4096,
	TRIES = 200,
	TRY_MS = 50,
};

/* A processor whose requests go to that queue, and so to that connection; -1: any. */
static int find_processor(unsigned int index, unsigned int queue)
{
	char path[64];
	FILE *list;
	int processor = -1;

	snprintf(path, sizeof(path), "/sys/block/nbd%u/mq/%u/cpu_list", index, queue);
	list = fopen(path, "re");
	if (list) {
		if (fscanf(list, "%5d", &processor) != 1)
			processor = -1;
		fclose(list);
	}
	return processor;
}

/* Past the page cache: what one has read, another shall not find there. */
static int read_through(unsigned int index, int processor)
{
	static _Alignas(READ_BYTES) uint8_t bytes[READ_BYTES];
	char device[32];
	cpu_set_t set;
	int fd;

	CPU_ZERO(&set);
	if (processor >= 0 && processor < CPU_SETSIZE)
		CPU_SET((size_t)processor, &set);
	/* Not allowed to run there: then neither are those that matter to us. */
	(void)sched_setaffinity(0, sizeof(set), &set);
	snprintf(device, sizeof(device), "/dev/nbd%u", index);
	fd = open(device, O_RDONLY | O_DIRECT | O_CLOEXEC);
	return fd >= 0 && pread(fd, bytes, sizeof(bytes), 0) > 0 ? 0 : 1;
}

void nbd_probe_begin(struct nbd_probe *probe, unsigned int index, unsigned int nr_connections)
{
	*probe = (struct nbd_probe){ 0 };
	for (unsigned int i = 0; i < nr_connections; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(read_through(index, find_processor(index, i)));
		if (pid > 0)
			probe->readers[probe->nr_readers++] = pid;
	}
}

/* Returns how many are still reading; those that had no answer count as well. */
static unsigned int look(struct nbd_probe *probe)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < probe->nr_readers; i++) {
		int status = 0;

		if (probe->readers[i] && waitpid(probe->readers[i], &status, WNOHANG) != 0 &&
		    WIFEXITED(status) && WEXITSTATUS(status) == 0)
			probe->readers[i] = 0;
		nr += probe->readers[i] != 0;
	}
	return nr;
}

bool nbd_probe_wait(struct nbd_probe *probe)
{
	const struct timespec pause = { .tv_nsec = TRY_MS * 1000000 };

	for (int i = 0; i < TRIES; i++) {
		if (look(probe) == 0)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

void nbd_probe_end(struct nbd_probe *probe)
{
	for (unsigned int i = 0; i < probe->nr_readers; i++)
		if (probe->readers[i])
			waitpid(probe->readers[i], NULL, 0);
}
