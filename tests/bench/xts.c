/* SPDX-License-Identifier: MIT */
/*
 * How fast is each XTS kernel, in GB/s of sectors of 512 bytes?
 *
 *   bench-xts [ROUNDS]
 *
 * Rounds are interleaved, so that a machine whose speed drifts treats all
 * kernels alike; medians are printed, and ratios to OpenSSL in the same run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypt/xts.h"
#include "sealblk/units.h"

enum {
	ROUNDS_DEFAULT = 15,
	ROUNDS_MAX = 1000,
	SLICE_NS = 4000000, /* of one measurement, about */
	KERNELS = 4,
	SIZES = 4,
	WAYS = 2,
	AREA_BYTES = 1 << 20,
};

static const char *const names[KERNELS] = { "vaes512", "vaes256", "aesni", "openssl" };
static const uint32_t sizes[SIZES] = { 512, 4096, 64 << 10, 1 << 20 };
static const char *const ways[WAYS] = { "encrypt", "decrypt" };

static uint8_t area[AREA_BYTES] __attribute__((aligned(4096)));
static double speeds[WAYS][KERNELS][SIZES][ROUNDS_MAX];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Bytes per nanosecond, which is GB/s. */
static double measure(struct xts *xts, int way, uint32_t bytes)
{
	const uint32_t sectors = bytes / SECTOR_BYTES;
	const uint64_t start = now_ns();
	uint64_t total = 0, passed;

	do {
		for (int i = 0; i < 16; i++) {
			if (way == 0)
				xts_encrypt(xts, total, sectors, area);
			else
				xts_decrypt(xts, total, sectors, area);
			total += bytes;
		}
		passed = now_ns() - start;
	} while (passed < SLICE_NS);
	return (double)total / (double)passed;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int nr)
{
	qsort(values, (size_t)nr, sizeof(*values), compare);
	return values[nr / 2];
}

static void print_way(int way, const bool *there, int rounds)
{
	double reference[SIZES];

	for (int s = 0; s < SIZES; s++)
		reference[s] = median(speeds[way][KERNELS - 1][s], rounds);
	printf("%-10s", ways[way]);
	for (int s = 0; s < SIZES; s++)
		printf("%12u B        ", sizes[s]);
	printf("\n");
	for (int k = 0; k < KERNELS; k++) {
		if (!there[k]) {
			printf("  %-8s  not on this processor\n", names[k]);
			continue;
		}
		printf("  %-8s", names[k]);
		for (int s = 0; s < SIZES; s++) {
			const double speed = median(speeds[way][k][s], rounds);

			printf("%8.2f GB/s %5.2fx  ", speed, speed / reference[s]);
		}
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	const int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS_DEFAULT;
	struct xts kernels[KERNELS];
	bool there[KERNELS], fell_back;
	struct xts_key key;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "bench-xts: ROUNDS must be 1 to %d\n", ROUNDS_MAX);
		return 2;
	}
	for (size_t i = 0; i < sizeof(key.bytes); i++)
		key.bytes[i] = (uint8_t)(i * 37 + 1);
	for (int k = 0; k < KERNELS; k++) {
		const struct xts_ops *ops;

		there[k] = xts_select(names[k], &ops, &fell_back) == 0 && !fell_back;
		if (there[k] && xts_init(&kernels[k], ops, &key) < 0)
			return 1;
	}
	for (int r = 0; r < rounds; r++)
		for (int way = 0; way < WAYS; way++)
			for (int s = 0; s < SIZES; s++)
				for (int k = 0; k < KERNELS; k++)
					if (there[k])
						speeds[way][k][s][r] =
							measure(&kernels[k], way, sizes[s]);
	printf("AES-256-XTS, sectors of 512 bytes, one thread; medians of %d interleaved rounds; "
	       "ratios to OpenSSL\n",
	       rounds);
	for (int way = 0; way < WAYS; way++)
		print_way(way, there, rounds);
	for (int k = 0; k < KERNELS; k++)
		if (there[k])
			xts_done(&kernels[k]);
	return 0;
}
