/* SPDX-License-Identifier: MIT */
/*
 * Feeds files to a fuzz target, without libFuzzer: to look into what one of them does,
 * and for coverage.
 *
 *   replay_NAME FILE...
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes);

enum { INPUT_BYTES_MAX = 64 << 20 };

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint8_t *bytes = malloc(INPUT_BYTES_MAX);
		size_t nr_bytes;

		if (!file || !bytes) {
			fprintf(stderr, "replay: %s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		nr_bytes = fread(bytes, 1, INPUT_BYTES_MAX, file);
		(void)LLVMFuzzerTestOneInput(bytes, nr_bytes);
		free(bytes);
		fclose(file);
	}
	return 0;
}
