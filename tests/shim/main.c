/* SPDX-License-Identifier: MIT */
/*
 * bad_dm_daemon DEVICE NODE SECTORS [garbage SECONDS]
 *
 * A daemon of dm-sealblk that does everything wrong: DEVICE is the block device,
 * served by nobody else, NODE its node. Each case prints its name; the first answer that
 * is not the one wanted ends the program with 1. garbage: random commands for so long,
 * beside users of the disk, some of whom may still wait for it when the program ends.
 */
#include <stdio.h>
#include <stdlib.h>

#include "shim/daemon.h"

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 6)
		return 2;
	disk = (struct disk){ argv[1], argv[2], strtoull(argv[3], NULL, 10) };
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 6)
		garbage((unsigned int)atoi(argv[5]));
	else
		run_cases();
	return 0;
}
