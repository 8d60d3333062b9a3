/* SPDX-License-Identifier: MIT */
/* States after a power cut: see media.h. */
#include "trace/media.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trace/common.h"

enum { PAGE_BYTES = 4096, PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES };

static const uint8_t zeros[PAGE_BYTES];

static uint64_t digest_of(const uint8_t *sector)
{
	uint64_t digest = 0;

	if (!sector || memcmp(sector, zeros, SECTOR_BYTES) == 0)
		return 0;
	for (unsigned int i = 0; i < SECTOR_BYTES; i += sizeof(digest)) {
		uint64_t word;

		memcpy(&word, sector + i, sizeof(word));
		digest = (digest ^ word) * GOLDEN;
		digest ^= digest >> 29;
	}
	return digest;
}

/* What @digest in @sector adds to that of the file. */
static uint64_t share(uint64_t sector, uint64_t digest)
{
	return digest ? mix64(mix64(sector + 1) + digest) : 0;
}

/* ---- life ---- */

static void map_scratch(struct media *media, const char *path)
{
	const size_t bytes = sectors_to_bytes(media->nr_sectors);

	if (unlink(path) < 0 && errno != ENOENT)
		give_up("%s: %s", path, strerror(errno));
	media->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (media->fd < 0 || ftruncate(media->fd, (off_t)bytes) < 0)
		give_up("%s: %s", path, strerror(errno));
	media->scratch = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, media->fd, 0);
	if (media->scratch == MAP_FAILED)
		give_up("%s: %s", path, strerror(errno));
	for (size_t at = 0; at < bytes; at += SECTOR_BYTES)
		if (memcmp(media->durable + at, zeros, SECTOR_BYTES) != 0)
			memcpy(media->scratch + at, media->durable + at, SECTOR_BYTES);
}

void media_init(struct media *media, const char *image, const char *scratch_path)
{
	struct seal_superblock super;
	size_t bytes;

	*media = (struct media){ .durable = must_map(image, &bytes) };
	if (bytes % PAGE_BYTES != 0)
		give_up("%s: not of whole pages", image);
	media->nr_sectors = bytes_to_sectors(bytes);
	media->authors = must_alloc(media->nr_sectors * sizeof(*media->authors));
	media->digests = must_alloc(media->nr_sectors * sizeof(*media->digests));
	media->now = must_alloc(media->nr_sectors * sizeof(*media->now));
	media->touched = must_alloc(bytes / PAGE_BYTES / 8 + 8);
	for (uint64_t s = 0; s < media->nr_sectors; s++) {
		media->digests[s] = digest_of(media->durable + sectors_to_bytes(s));
		media->now[s] = media->digests[s];
		media->digest ^= share(s, media->digests[s]);
	}
	memcpy(&super, media->durable, sizeof(super));
	media->nr_metadata = bytes_to_sectors(le64_get(super.planes[0].file_offset_bytes));
	map_scratch(media, scratch_path);
}

/* ---- what is pending ---- */

static const uint8_t *data_of(const struct pending *p, uint32_t i)
{
	return p->data ? p->data + sectors_to_bytes(i) : NULL;
}

static void add_pending(struct media *media, const struct event *event, uint32_t index)
{
	struct pending *p;

	if (event->first_sector + event->nr_sectors > media->nr_sectors)
		give_up("event %" PRIu32 ": beyond the end of the image", index);
	if (media->nr_pending == media->room) {
		media->room = media->room ? 2 * media->room : 256;
		media->pending = realloc(media->pending, media->room * sizeof(*media->pending));
		if (!media->pending)
			give_up("no memory");
	}
	p = &media->pending[media->nr_pending++];
	*p = (struct pending){
		.issued = index,
		.id = event->id,
		.first_sector = event->first_sector,
		.nr_sectors = event->nr_sectors,
		.data = event->kind == TRACE_WRITE ? event->data : NULL,
		.digests = must_alloc(event->nr_sectors * sizeof(*p->digests)),
	};
	for (uint32_t i = 0; i < p->nr_sectors; i++)
		p->digests[i] = digest_of(data_of(p, i));
}

uint32_t media_nr_metadata(const struct media *media)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < media->nr_pending; i++)
		nr += media->pending[i].first_sector < media->nr_metadata;
	return nr;
}

uint32_t media_nth_metadata(const struct media *media, uint32_t nth)
{
	uint32_t i = 0;

	while (media->pending[i].first_sector >= media->nr_metadata || nth-- > 0)
		i++;
	return i;
}

/* What is durable has changed: so must the scratch file, which is at rest. */
static void make_durable(struct media *media, const struct pending *p)
{
	for (uint32_t i = 0; i < p->nr_sectors; i++) {
		const uint64_t s = p->first_sector + i;
		const uint8_t *data = data_of(p, i);

		if (media->authors[s] > p->issued)
			continue;
		media->authors[s] = p->issued;
		media->digest ^= share(s, media->digests[s]) ^ share(s, p->digests[i]);
		media->digests[s] = p->digests[i];
		media->now[s] = p->digests[i];
		memcpy(media->durable + sectors_to_bytes(s), data ? data : zeros, SECTOR_BYTES);
	}
	media_touch(media, sectors_to_bytes(p->first_sector), sectors_to_bytes(p->nr_sectors));
}

static void forget(struct media *media, bool (*is_over)(const struct pending *p, uint32_t arg),
		   uint32_t arg)
{
	uint32_t nr_left = 0;

	for (uint32_t i = 0; i < media->nr_pending; i++) {
		struct pending *p = &media->pending[i];

		if (is_over(p, arg)) {
			make_durable(media, p);
			free(p->digests);
		} else {
			media->pending[nr_left++] = *p;
		}
	}
	media->nr_pending = nr_left;
	media_restore(media);
}

/* Had it ended when the fdatasync of event @issued was issued? */
static bool is_covered(const struct pending *p, uint32_t issued)
{
	return p->done && !p->failed && p->done < issued;
}

static void sync_done(struct media *media, const struct event *event)
{
	for (uint32_t i = 0; i < media->nr_syncs; i++) {
		const uint32_t issued = media->syncs[i].issued;

		if (media->syncs[i].id != event->id)
			continue;
		media->syncs[i] = media->syncs[--media->nr_syncs];
		if (event->result == 0) {
			forget(media, is_covered, issued);
			return;
		}
		/* The kernel calls these pages clean now: no later fdatasync answers for them. */
		for (uint32_t n = 0; n < media->nr_pending; n++)
			media->pending[n].failed |= is_covered(&media->pending[n], issued);
		return;
	}
	give_up("an fdatasync ended that was never issued");
}

static void change_done(struct media *media, const struct event *event, uint32_t index)
{
	for (uint32_t i = media->nr_pending; i-- > 0;) {
		struct pending *p = &media->pending[i];

		if (p->id != event->id || p->done)
			continue;
		p->done = index;
		p->failed = event->result < 0;
		return;
	}
	give_up("event %" PRIu32 ": the end of what was never issued", index);
}

void media_advance(struct media *media, const struct event *event, uint32_t index)
{
	const bool is_change = event->kind == TRACE_WRITE || event->kind == TRACE_PUNCH;

	if (event->type == TRACE_ISSUE && is_change) {
		add_pending(media, event, index);
	} else if (event->type == TRACE_ISSUE && event->kind == TRACE_FDATASYNC) {
		if (media->nr_syncs == ARRAY_LEN(media->syncs))
			give_up("too many fdatasyncs in flight");
		media->syncs[media->nr_syncs].id = event->id;
		media->syncs[media->nr_syncs++].issued = index;
	} else if (event->type == TRACE_DONE && is_change) {
		change_done(media, event, index);
	} else if (event->type == TRACE_DONE && event->kind == TRACE_FDATASYNC) {
		sync_done(media, event);
	}
}

uint64_t media_settle(struct media *media, const uint8_t *bytes, uint32_t index)
{
	const struct choice done = { .kind = CHOOSE_DONE };
	uint64_t strange = UINT64_MAX;

	media_build(media, &done);
	for (uint32_t i = 0; i < media->nr_pending; i++) {
		struct pending *p = &media->pending[i];

		if (p->done)
			continue;
		p->data = bytes + sectors_to_bytes(p->first_sector);
		p->done = index;
		for (uint32_t n = 0; n < p->nr_sectors; n++) {
			p->digests[n] = digest_of(data_of(p, n));
			memcpy(media->scratch + sectors_to_bytes(p->first_sector + n),
			       data_of(p, n), SECTOR_BYTES);
		}
		media_touch(media, sectors_to_bytes(p->first_sector),
			    sectors_to_bytes(p->nr_sectors));
	}
	for (uint64_t s = 0; s < media->nr_sectors && strange == UINT64_MAX; s++)
		if (memcmp(media->scratch + sectors_to_bytes(s), bytes + sectors_to_bytes(s),
			   SECTOR_BYTES) != 0)
			strange = s;
	media_restore(media);
	media->nr_syncs = 0;
	return strange;
}

/* ---- states ---- */

static bool is_kept(const struct media *media, const struct choice *choice, uint32_t i,
		    uint64_t sector)
{
	uint64_t dice;

	switch (choice->kind) {
	case CHOOSE_ALL:
		return true;
	case CHOOSE_NONE:
		return false;
	case CHOOSE_MASK:
		return choice->bits >> i & 1;
	case CHOOSE_ONE:
		return i == choice->nth;
	case CHOOSE_ALL_BUT:
		return i != choice->nth;
	case CHOOSE_OLDEST:
		return i < choice->nth;
	case CHOOSE_NEWEST:
		return i >= media->nr_pending - choice->nth;
	case CHOOSE_RANDOM:
		return mix64(choice->bits + i) & 1;
	case CHOOSE_TORN:
		dice = mix64(choice->bits + i) % 3;
		return dice < 2 ? dice : mix64(mix64(choice->bits + i) + sector) & 1;
	case CHOOSE_DONE:
		return media->pending[i].done && !media->pending[i].failed;
	case CHOICES:
		break;
	}
	abort();
}

uint64_t media_digest(struct media *media, const struct choice *choice)
{
	uint64_t digest = media->digest;

	for (uint32_t i = 0; i < media->nr_pending; i++) {
		const struct pending *p = &media->pending[i];

		for (uint32_t n = 0; n < p->nr_sectors; n++) {
			const uint64_t s = p->first_sector + n;

			if (media->authors[s] > p->issued || !is_kept(media, choice, i, s))
				continue;
			digest ^= share(s, media->now[s]) ^ share(s, p->digests[n]);
			media->now[s] = p->digests[n];
		}
	}
	for (uint32_t i = 0; i < media->nr_pending; i++) {
		const struct pending *p = &media->pending[i];

		memcpy(media->now + p->first_sector, media->digests + p->first_sector,
		       p->nr_sectors * sizeof(*media->now));
	}
	return digest;
}

static void punch(struct media *media, uint64_t first_sector, uint64_t nr_sectors)
{
	if (fallocate(media->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)sectors_to_bytes(first_sector),
		      (off_t)sectors_to_bytes(nr_sectors)) < 0)
		give_up("cannot punch the scratch file: %s", strerror(errno));
}

static void keep(struct media *media, const struct choice *choice, uint32_t i)
{
	const struct pending *p = &media->pending[i];
	uint32_t begin = 0;

	while (begin < p->nr_sectors) {
		uint32_t end = begin;
		const uint64_t first = p->first_sector + begin;

		while (end < p->nr_sectors && media->authors[p->first_sector + end] < p->issued &&
		       is_kept(media, choice, i, p->first_sector + end))
			end++;
		if (end > begin && p->data)
			memcpy(media->scratch + sectors_to_bytes(first), data_of(p, begin),
			       sectors_to_bytes(end - begin));
		else if (end > begin)
			punch(media, first, end - begin);
		media_touch(media, sectors_to_bytes(first), sectors_to_bytes(end - begin));
		begin = end + 1;
	}
}

void media_build(struct media *media, const struct choice *choice)
{
	for (uint32_t i = 0; i < media->nr_pending; i++)
		keep(media, choice, i);
}

void media_touch(struct media *media, uint64_t offset_bytes, uint64_t nr_bytes)
{
	if (nr_bytes == 0)
		return;
	if (offset_bytes + nr_bytes > sectors_to_bytes(media->nr_sectors))
		give_up("a write beyond the end of the scratch file");
	for (uint64_t page = offset_bytes / PAGE_BYTES;
	     page <= (offset_bytes + nr_bytes - 1) / PAGE_BYTES; page++)
		media->touched[page / 64] |= UINT64_C(1) << page % 64;
}

static void restore_page(struct media *media, uint64_t page)
{
	const uint8_t *durable = media->durable + page * PAGE_BYTES;

	if (memcmp(durable, zeros, PAGE_BYTES) == 0)
		punch(media, page * PAGE_SECTORS, PAGE_SECTORS);
	else
		memcpy(media->scratch + page * PAGE_BYTES, durable, PAGE_BYTES);
}

void media_restore(struct media *media)
{
	const uint64_t nr_words = media->nr_sectors / PAGE_SECTORS / 64 + 1;

	for (uint64_t word = 0; word < nr_words; word++)
		while (media->touched[word]) {
			const uint64_t bit = (uint64_t)__builtin_ctzll(media->touched[word]);

			media->touched[word] &= media->touched[word] - 1;
			restore_page(media, word * 64 + bit);
		}
}

bool media_is_restored(const struct media *media)
{
	return memcmp(media->scratch, media->durable, sectors_to_bytes(media->nr_sectors)) == 0;
}
