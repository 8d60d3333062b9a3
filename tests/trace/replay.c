/* SPDX-License-Identifier: MIT */
/*
 * Builds the image files that power cuts could have left of what traces record,
 * opens each with the daemon's code and holds it against what clients were told.
 *
 *   trace-replay --image BEFORE --key-file KEY --scratch FILE [OPTION]...
 *                [TRACE LOG AFTER]...
 *     BEFORE        the image before the first session
 *     TRACE LOG     of each session: from sealblkd --trace and trace-load
 *     AFTER         the image as it read when that daemon was gone
 *     --base FILE   the image's base, a raw file
 *     --states N    image files to build (2000)
 *     --seed N      which ones
 *     --check FILE  `sealblk`: its check must find nothing, in one state of ...
 *     --check-every N   ... so many (50)
 *     --keep FILE   where a state that should not be is left (failed.seal)
 *     --only K:J    that one state, as an earlier run named it
 *
 * A moment is the time before an event. At each of them with something new the
 * plain prefix of the trace is built (all that was issued has reached storage),
 * what was flushed alone, and some of the possibilities between, up to
 * --states in all; a file that was looked at before is only looked at again when
 * more must be in it. --scratch is best on a tmpfs.
 *
 * Exit: 0 all is well, 1 a violation, 2 the run says nothing.
 */
#include "trace/replay.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	EXHAUSTIVE_PENDING = 4, /* up to so many open writes, all subsets */
	METADATA_WEIGHT = 4,
};

/* ---- which states ----------------------------------------------------------- */

static struct seen *find_seen(const struct replay *x, uint64_t digest)
{
	uint64_t at = digest & (x->nr_seen_places - 1);

	while (x->seen[at].digest && x->seen[at].digest != digest)
		at = (at + 1) & (x->nr_seen_places - 1);
	return &x->seen[at];
}

static void grow_seen(struct replay *x)
{
	struct seen *old = x->seen;
	const uint64_t nr_old = x->nr_seen_places;

	x->nr_seen_places = nr_old ? 4 * nr_old : 1 << 12;
	x->seen = must_alloc(x->nr_seen_places * sizeof(*x->seen));
	for (uint64_t i = 0; i < nr_old; i++)
		if (old[i].digest)
			*find_seen(x, old[i].digest) = old[i];
	free(old);
}

/* Has the state been looked at since anything more became certain? Now it has. */
static bool was_seen(struct replay *x, uint64_t digest)
{
	struct seen *seen;

	if (2 * x->nr_seen >= x->nr_seen_places)
		grow_seen(x);
	seen = find_seen(x, digest | 1);
	if (seen->digest && seen->epoch == x->expect.epoch)
		return true;
	x->nr_seen += seen->digest == 0;
	*seen = (struct seen){ digest | 1, x->expect.epoch };
	return false;
}

/* Sample @sample of the moment before event @event: the same one in every run. */
static struct choice draw(const struct replay *x, uint32_t event, uint64_t sample)
{
	static const uint8_t kinds[] = {
		CHOOSE_ONE,    CHOOSE_ONE,    CHOOSE_ALL_BUT, CHOOSE_ALL_BUT,
		CHOOSE_RANDOM, CHOOSE_RANDOM, CHOOSE_TORN,    CHOOSE_TORN,
		CHOOSE_OLDEST, CHOOSE_NEWEST, CHOOSE_DONE,    CHOOSE_TORN,
	};
	const uint64_t dice = mix64(mix64(x->seed + event * GOLDEN) + sample);
	const uint32_t nr = x->media.nr_pending, nr_metadata = media_nr_metadata(&x->media);

	if (sample == 0 || nr == 0)
		return (struct choice){ .kind = CHOOSE_ALL };
	if (sample == 1)
		return (struct choice){ .kind = CHOOSE_NONE };
	/* When these run out, there are the torn ones. */
	if (nr <= EXHAUSTIVE_PENDING && sample % 2 == 0 && sample / 2 <= 1u << nr)
		return (struct choice){
			.kind = CHOOSE_MASK,
			.bits = (sample / 2 + mix64(x->seed + event)) & ((1u << nr) - 1),
		};
	return (struct choice){
		.kind = nr <= EXHAUSTIVE_PENDING ? CHOOSE_TORN : kinds[dice % ARRAY_LEN(kinds)],
		.nth = nr_metadata > 0 && dice >> 63
			       ? media_nth_metadata(&x->media,
						    (uint32_t)(mix64(dice) % nr_metadata))
			       : (uint32_t)(mix64(dice) % nr),
		.bits = mix64(dice + 1),
	};
}

static void try_sample(struct replay *x, uint64_t sample)
{
	x->sample = sample;
	x->choice = draw(x, x->event, sample);
	if (!was_seen(x, media_digest(&x->media, &x->choice)))
		replay_look(x);
}

/* The time before event @event, at @time_ns the latest. */
static void look_at_moment(struct replay *x, uint32_t event, uint64_t time_ns)
{
	const uint64_t nr_before = x->nr_built;
	uint64_t quota = 1;

	x->event = event;
	x->time_ns = time_ns;
	x->nr_moments++;
	if (x->only) {
		if (event == x->only_event)
			try_sample(x, x->only_sample);
		return;
	}
	if (x->nr_states_wanted > x->nr_built && x->nr_moments_left > 0)
		quota = (x->nr_states_wanted - x->nr_built) / x->nr_moments_left;
	/* What is torn or missing matters most among metadata; most moments have none. */
	if (media_nr_metadata(&x->media) > 0)
		quota *= METADATA_WEIGHT;
	try_sample(x, 0);
	try_sample(x, 1);
	for (uint64_t sample = 2; x->nr_built - nr_before < quota && sample < 2 * quota + 8;
	     sample++)
		try_sample(x, sample);
	x->nr_moments_left -= x->nr_moments_left > 1;
}

/* ---- the course of time ------------------------------------------------------- */

static bool brings_news(const struct event *event)
{
	if (event->type == TRACE_ISSUE)
		return event->kind == TRACE_WRITE || event->kind == TRACE_PUNCH;
	return event->type == TRACE_END ||
	       (event->type == TRACE_DONE && event->kind == TRACE_FDATASYNC);
}

static void end_session(struct replay *x, unsigned int session, uint32_t event)
{
	const uint64_t strange = media_settle(&x->media, x->afters[session], event);

	if (strange != UINT64_MAX)
		give_up("session %u: byte %" PRIu64 " of the image is not what was recorded",
			session + 1, sectors_to_bytes(strange));
}

static void replay_all(struct replay *x)
{
	const struct timeline *timeline = &x->timeline;
	bool news = true;

	for (uint32_t i = 0; i < timeline->nr; i++) {
		const struct event *event = &timeline->events[i];
		const uint32_t epoch = x->expect.epoch;

		expect_advance(&x->expect, event->time_ns);
		if (news || x->expect.epoch != epoch)
			look_at_moment(x, i, event->time_ns);
		if (event->type == TRACE_FILE && event->session > 0)
			end_session(x, event->session - 1, i);
		media_advance(&x->media, event, i);
		news = brings_news(event);
		if (event->type == TRACE_END)
			expect_closed(&x->expect, event->session);
	}
	end_session(x, timeline->nr_sessions - 1, timeline->nr);
	/* Of a daemon that was killed nobody knows when the last moment was. */
	if (timeline->events[timeline->nr - 1].type == TRACE_END)
		look_at_moment(x, timeline->nr, UINT64_MAX);
}

/* ---- the command line ----------------------------------------------------------- */

static void take_only(struct replay *x, const char *text)
{
	unsigned long long event, sample;
	char rest;

	if (sscanf(text, "%llu:%llu%c", &event, &sample, &rest) != 2)
		give_up("--only %s: EVENT:SAMPLE", text);
	x->only = true;
	x->only_event = (uint32_t)event;
	x->only_sample = sample;
	x->check = NULL;
}

static void take_sessions(struct replay *x, char **args, int nr_args)
{
	if (nr_args == 0 || nr_args % 3 != 0)
		give_up("the sessions: TRACE LOG AFTER of each");
	expect_init(&x->expect, x->base);
	x->afters = must_alloc((size_t)nr_args / 3 * sizeof(*x->afters));
	for (int i = 0; i < nr_args; i += 3) {
		size_t bytes;

		timeline_add(&x->timeline, args[i]);
		expect_add(&x->expect, args[i + 1]);
		x->afters[i / 3] = must_map(args[i + 2], &bytes);
		if (bytes != sectors_to_bytes(x->media.nr_sectors))
			give_up("%s: is not as long as %s", args[i + 2], x->image);
	}
	expect_settle(&x->expect);
}

static void take_option(struct replay *x, int opt, const char *argument)
{
	if (opt == 'i')
		x->image = argument;
	else if (opt == 'k')
		x->key_file = argument;
	else if (opt == 'x')
		x->scratch = argument;
	else if (opt == 'b')
		x->base = argument;
	else if (opt == 'n')
		x->nr_states_wanted = must_number(argument);
	else if (opt == 's')
		x->seed = must_number(argument);
	else if (opt == 'c')
		x->check = argument;
	else if (opt == 'e')
		x->check_every = must_number(argument);
	else if (opt == 'f')
		x->keep = argument;
	else if (opt == 'o')
		take_only(x, argument);
}

static void take_options(struct replay *x, int argc, char **argv)
{
	static const struct option options[] = {
		{ "image", required_argument, NULL, 'i' },
		{ "key-file", required_argument, NULL, 'k' },
		{ "scratch", required_argument, NULL, 'x' },
		{ "base", required_argument, NULL, 'b' },
		{ "states", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "check", required_argument, NULL, 'c' },
		{ "check-every", required_argument, NULL, 'e' },
		{ "keep", required_argument, NULL, 'f' },
		{ "only", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			exit(2);
		take_option(x, opt, optarg);
	}
}

int main(int argc, char **argv)
{
	static struct replay x = {
		.keep = "failed.seal",
		.nr_states_wanted = 2000,
		.check_every = 50,
	};
	size_t bytes;

	x.argv = argv;
	take_options(&x, argc, argv);
	if (!x.image || !x.key_file || !x.scratch)
		give_up("--image, --key-file and --scratch must be given");
	media_init(&x.media, x.image, x.scratch);
	take_sessions(&x, argv + optind, argc - optind);
	subject_init(&x.subject, x.scratch, x.key_file, x.base, &x.media);
	bytes = sectors_to_bytes(x.expect.nr_cells);
	x.contents = must_alloc(bytes);
	x.contents_again = must_alloc(bytes);
	for (uint32_t i = 0; i < x.timeline.nr; i++)
		x.nr_moments_left += brings_news(&x.timeline.events[i]);
	replay_all(&x);
	unlink(x.scratch);
	printf("trace: %" PRIu64 " operations, %" PRIu64 " moments, %" PRIu64
	       " states built, %" PRIu64 " opened, %" PRIu64 " by sealblk check, 0 violations\n",
	       x.timeline.nr_operations, x.nr_moments, x.nr_built, x.nr_opened, x.nr_checked);
	return 0;
}
