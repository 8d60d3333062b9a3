/* SPDX-License-Identifier: MIT */
/* sealblk: finds the verb, runs it, and turns its result into an exit code. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "sealblk/version.h"
#include "verbs.h"

#define ENCRYPT_HELP                                                                                \
	"Rewrite sectors of IMAGE that are plain, or still the base's, until all are encrypted;\n"  \
	"then IMAGE needs no base any more. A daemon that serves IMAGE does it beside its\n"        \
	"clients, who come first, and needs no key from here: without a second word its progress\n" \
	"is shown until the end, and it goes on when this program is ended. Otherwise it is\n"      \
	"done here, KEYSOURCE being one of the key options below, or, with start, when IMAGE is\n"  \
	"served next. A crash costs nothing: it goes on where it was. Encryption must be on.\n"

#define REKEY_HELP                                                                                    \
	"Rewrite all encrypted sectors of IMAGE under a new data key, and destroy the old one. The\n" \
	"image key, which wraps it, becomes a new one too, so that only KEYSOURCE, one of the key\n"  \
	"options below, opens IMAGE afterwards: where other key slots are in use, say\n"              \
	"--drop-other-slots and add them again. A daemon that serves IMAGE does it beside its\n"      \
	"clients, who come first: without a second word its progress is shown until the end, and\n"   \
	"it goes on when this program is ended. Otherwise it is done here or, with start, when\n"     \
	"IMAGE is served next. A crash costs nothing: it goes on where it was. Encryption must be\n"  \
	"on. What was copied from IMAGE before stays under the old key.\n"

const struct verb tool_verbs[] = {
	{
		.name = "create",
		.operands =
			"[--base FILE[:FORMAT] [--own-base]] [--size N] KEYSOURCE [OPTION]... IMAGE",
		.summary = "make an image",
		.help = "Make IMAGE, which must not exist. Its disk is empty, or shows the disk of a\n"
			"base until sectors are written. FORMAT of the base is raw, vhd or vhdx;\n"
			"without it, the file tells. A base is shared and never written, unless\n"
			"--own-base lets IMAGE adopt it: a private fixed VHD then becomes encrypted as\n"
			"the disk is rewritten. KEYSOURCE is one of the key options below.\n",
		.has_keys = true,
		.check = verb_create_check,
		.run = verb_create,
	},
	{
		.name = "info",
		.operands = "[--json] IMAGE",
		.summary = "state, base, keys, policy, counts per state",
		.help = "Tell what IMAGE is and how much of it is encrypted. Needs no key. Where a\n"
			"daemon serves it, the daemon is asked.\n",
		.run = verb_info,
	},
	{
		.name = "map",
		.operands = "[--json | --svg FILE] IMAGE",
		.summary = "extents of the disk with their state",
		.help = "List the extents of the disk, each base (plaintext, from the base), zero,\n"
			"plain or sealed (encrypted), or draw them. Needs no key. Where a daemon serves\n"
			"IMAGE, the daemon is asked.\n",
		.check = verb_map_check,
		.run = verb_map,
	},
	{
		.name = "encryption on",
		.operands = "[--json] [KEYSOURCE] IMAGE",
		.summary = "encrypt what is written from now on",
		.help = "Switch encryption of IMAGE on or off for what is written from now on; sectors\n"
			"that are there stay as they are until they are written again, and any history of\n"
			"switches reads back right. A daemon that serves IMAGE does it under load, and\n"
			"needs no key from here; otherwise KEYSOURCE is one of the key options below.\n"
			"To ask for what is so already changes nothing.\n",
		.has_keys = true,
		.check = verb_encryption_check,
		.run = verb_encryption_on,
	},
	{
		.name = "encryption off",
		.operands = "[--json] [KEYSOURCE] IMAGE",
		.summary = "write in the clear from now on",
		.help = "Switch encryption of IMAGE on or off for what is written from now on; sectors\n"
			"that are there stay as they are until they are written again, and any history of\n"
			"switches reads back right. A daemon that serves IMAGE does it under load, and\n"
			"needs no key from here; otherwise KEYSOURCE is one of the key options below.\n"
			"To ask for what is so already changes nothing.\n",
		.has_keys = true,
		.check = verb_encryption_check,
		.run = verb_encryption_off,
	},
	{
		.name = "encryption status",
		.operands = "[--json] IMAGE",
		.summary = "is encryption on, and since when?",
		.help = "Tell whether what is written now is encrypted, and when that was last switched\n"
			"on. Needs no key. What of the disk is encrypted, info and map tell.\n",
		.run = verb_encryption_status,
	},
	{
		.name = "events",
		.operands = "[--json] IMAGE",
		.summary = "follow what happens to an image that is being served",
		.help = "Tell the state of IMAGE, and then what happens to it as it happens, a line each:\n"
			"encryption switched, keys added or removed, the first write that failed. With\n"
			"--json, each line is an object. Needs no key. Ends with exit 0 when the daemon\n"
			"that serves IMAGE stops.\n",
		.run = verb_events,
	},
	{
		.name = "encrypt start",
		.operands = "[--max-rate N] [KEYSOURCE] IMAGE",
		.summary = "let the daemon do it, and do not wait",
		.help = ENCRYPT_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_encrypt_start,
	},
	{
		.name = "encrypt status",
		.operands = "[--json] IMAGE",
		.summary = "how far is it?",
		.help = ENCRYPT_HELP,
		.run = verb_encrypt_status,
	},
	{
		.name = "encrypt pause",
		.operands = "[KEYSOURCE] IMAGE",
		.summary = "stop for a while",
		.help = ENCRYPT_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_encrypt_pause,
	},
	{
		.name = "encrypt resume",
		.operands = "[--max-rate N] [KEYSOURCE] IMAGE",
		.summary = "go on",
		.help = ENCRYPT_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_encrypt_resume,
	},
	{
		.name = "encrypt",
		.operands = "[--max-rate N] [KEYSOURCE] IMAGE",
		.summary = "rewrite until no sector is plain",
		.help = ENCRYPT_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_encrypt,
	},
	{
		.name = "rekey start",
		.operands = "[--max-rate N] KEYSOURCE [--drop-other-slots] IMAGE",
		.summary = "let the daemon do it, and do not wait",
		.help = REKEY_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_rekey_start,
	},
	{
		.name = "rekey status",
		.operands = "[--json] IMAGE",
		.summary = "how far is it?",
		.help = REKEY_HELP,
		.run = verb_rekey_status,
	},
	{
		.name = "rekey pause",
		.operands = "[KEYSOURCE] IMAGE",
		.summary = "stop for a while",
		.help = REKEY_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_rekey_pause,
	},
	{
		.name = "rekey resume",
		.operands = "[--max-rate N] [KEYSOURCE] IMAGE",
		.summary = "go on",
		.help = REKEY_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_rekey_resume,
	},
	{
		.name = "rekey",
		.operands = "[--max-rate N] KEYSOURCE [--drop-other-slots] IMAGE",
		.summary = "rewrite under a new key, destroy the old one",
		.help = REKEY_HELP,
		.has_keys = true,
		.check = verb_rewrite_check,
		.run = verb_rekey,
	},
	{
		.name = "check",
		.operands = "[--json] [--repair] [KEYSOURCE] IMAGE",
		.summary = "is the image sound? if not, repair what can be",
		.help = "Look for damage in IMAGE, its base and its dirty file, a line for each finding:\n"
			"what, where in the file, what it means for the data, and what to do. Changes\n"
			"nothing. With a KEYSOURCE, one of the key options below, MACs and wrapped keys\n"
			"are checked too. IMAGE must not be served meanwhile.\n"
			"\n"
			"--repair copies sound copies over damaged ones (superblocks, keyrings, name/value\n"
			"areas; slots of the map, if IMAGE was closed) and punches out superseded sectors\n"
			"that no map entry names; a line for each. It changes neither data, policy nor\n"
			"keys, makes nothing up, and leaves everything else as it is. What was not\n"
			"closed, opening it recovers: serve it once.\n"
			"\n"
			"Exit: 0 no problems (left), 3 problems, 4 wrong key, 1 not checked, or not\n"
			"repaired to the end.\n",
		.has_keys = true,
		.check = verb_check_check,
		.run = verb_check,
	},
	{
		.name = "key list",
		.operands = "[--json] IMAGE",
		.summary = "the key slots: who can open it",
		.help = "List the key slots of IMAGE that are in use: each holds the image key, wrapped by\n"
			"one key of its owner. Needs no key, and shows none. Where a daemon serves IMAGE,\n"
			"the daemon is asked.\n",
		.run = verb_key_list,
	},
	{
		.name = "key add",
		.operands = "KEYSOURCE NEW-KEYSOURCE IMAGE",
		.summary = "let one more key open it",
		.help = "Let a new key, one of the options --new-..., open IMAGE as well, from a free key\n"
			"slot (there are 8). KEYSOURCE, one of the other key options below, is a key that\n"
			"opens it already. Where a daemon serves IMAGE, the daemon does it, under load; the\n"
			"keys are read here all the same. To add a key that is there already changes\n"
			"nothing.\n",
		.has_keys = true,
		.check = verb_key_add_check,
		.run = verb_key_add,
	},
	{
		.name = "key remove",
		.operands = "[KEYSOURCE] --slot N [--destroy-data] IMAGE",
		.summary = "empty a key slot",
		.help = "Empty a key slot of IMAGE: its key opens IMAGE no more. A daemon that serves IMAGE\n"
			"does it, needs no key from here, and goes on serving; otherwise KEYSOURCE, one of\n"
			"the key options below, is a key that opens it. A slot that is empty stays so.\n"
			"Copies of IMAGE made before still open with the key.\n"
			"\n"
			"The last slot is removed with --destroy-data only, and not while IMAGE is being\n"
			"served: that is crypto-erase, after which no key opens IMAGE ever again.\n",
		.has_keys = true,
		.check = verb_key_remove_check,
		.run = verb_key_remove,
	},
	{
		.name = "key rotate",
		.operands = "KEYSOURCE NEW-KEYSOURCE IMAGE",
		.summary = "let a new key open it instead of another",
		.help = "Let a new key, one of the options --new-..., open IMAGE instead of KEYSOURCE.\n"
			"The key that data is encrypted with stays, wrapped anew: no data is touched. The\n"
			"new slot is durable before the old one is emptied, so one key slot must be free;\n"
			"cut short, it goes on from there when asked again. Where a daemon serves IMAGE,\n"
			"the daemon does it, under load. Copies of IMAGE made before still open with the\n"
			"old key.\n",
		.has_keys = true,
		.check = verb_key_add_check,
		.run = verb_key_rotate,
	},
	{
		.name = "key revoke",
		.operands = "[KEYSOURCE] IMAGE",
		.summary = "refuse all I/O, and drop the keys",
		.help = "Let the keys of IMAGE be used no more, until key restore. A daemon that serves\n"
			"IMAGE refuses all I/O from now on, finishes what is under way, and drops the keys\n"
			"from its memory; its clients stay connected, and it needs no key from here.\n"
			"Otherwise KEYSOURCE is one of the key options below. It outlasts restarts: IMAGE\n"
			"is not served until its keys are restored. info, map, key list and encryption\n"
			"status still tell of it. To revoke what is revoked changes nothing.\n"
			"\n"
			"This protects from who has the daemon, not from who has a key: a key slot\n"
			"still opens what it opened, and key remove empties it.\n",
		.has_keys = true,
		.check = verb_key_revoke_check,
		.run = verb_key_revoke,
	},
	{
		.name = "key restore",
		.operands = "KEYSOURCE IMAGE",
		.summary = "let the keys be used again",
		.help = "Take back key revoke. KEYSOURCE, one of the key options below, is a key that opens\n"
			"IMAGE. A daemon that serves IMAGE goes on with the I/O of the clients that are\n"
			"still connected. Of an image that is not revoked only the key is checked.\n",
		.has_keys = true,
		.check = tool_check_key,
		.run = verb_key_restore,
	},
	{
		.name = "key export",
		.operands = "KEYSOURCE [--plane N] [--tib T] [--output FILE] IMAGE",
		.summary = "the key of one TiB of a plane, as dm-crypt takes it",
		.help = "Print the AES-256-XTS key of one TiB of a sealed plane: 128 hex digits. With\n"
			"it dm-crypt reads that part of the plane as it stands (aes-xts-plain64, sectors\n"
			"of 512 bytes, iv_offset T * 2^31); the map tells which sectors of the disk are\n"
			"there. KEYSOURCE is one of the key options below.\n",
		.has_keys = true,
		.check = tool_check_key,
		.run = verb_key_export,
	},
	{
		.name = "convert",
		.operands = "[--format FORMAT] [--force] [--json] SOURCE[:FORMAT] DEST",
		.summary = "a disk from one file format to another",
		.help = "Copy the disk in SOURCE, raw or a VHD of any kind (FORMAT: raw or vhd; without it,\n"
			"the file tells), to DEST: a fixed VHD as Azure takes it, a dynamic one, or raw. Only\n"
			"what SOURCE stores is read, zeros are not written, and SOURCE is never changed. A\n"
			"fixed VHD is padded with zeros to whole MiB, and to 20 of them. DEST appears when\n"
			"it is complete and durable; until then it is DEST.part. What SIGINT or SIGTERM\n"
			"interrupts, the same command goes on with, after it has compared what is there.\n"
			"With --json --progress=always an object for each half second comes first.\n",
		.has_two = true,
		.check = verb_convert_check,
		.run = verb_convert,
	},
	{
		.name = "export",
		.operands = "[--format FORMAT] [--force] [--json] [KEYSOURCE] IMAGE DEST",
		.summary = "the decrypted disk of an image, ready for upload",
		.help = "Write the disk of IMAGE, decrypted, to DEST: a fixed VHD as Azure takes it, a\n"
			"dynamic one, or raw. KEYSOURCE is one of the key options below. Where a daemon serves\n"
			"IMAGE, it needs none and holds the disk still for this, as it is when it begins,\n"
			"while its clients go on: what they overwrite is kept in an unnamed file beside DEST\n"
			"until then. Over a base that is a VHD, DEST keeps that one's unique\n"
			"id and timestamp; where no sector has changed since, the export as a fixed VHD of\n"
			"a fixed one is the base, byte for byte. Only what is stored is read, zeros are not\n"
			"written. DEST appears when it is complete and durable; until then it is DEST.part.\n"
			"What SIGINT or SIGTERM interrupts, the same command goes on with, after it has\n"
			"compared what is there; of an IMAGE that is served, it begins anew.\n",
		.has_keys = true,
		.has_two = true,
		.check = verb_export_check,
		.run = verb_export,
	},
	{
		.name = "import",
		.operands = "[--json] SOURCE[:FORMAT] KEYSOURCE IMAGE",
		.summary = "make an image of a disk, all of it encrypted",
		.help = "Make IMAGE, which must not exist, with a copy of the disk in SOURCE, raw or a VHD of\n"
			"any kind (FORMAT: raw or vhd; without it, the file tells). Every sector that SOURCE\n"
			"stores is encrypted, and IMAGE needs no base. KEYSOURCE is one of the key options\n"
			"below. IMAGE appears when it is complete and durable; until then it is IMAGE.part.\n"
			"What SIGINT or SIGTERM interrupts, the same command goes on with, after it has\n"
			"compared what is there.\n",
		.has_keys = true,
		.has_two = true,
		.check = tool_check_key,
		.run = verb_import,
	},
	{
		.name = "vhd info",
		.operands = "[--json] FILE",
		.summary = "a VHD's or VHDX's headers, and would Azure take it?",
		.help = "Tell what the footer of a VHD says, in words, which size its disk has and why,\n"
			"how many blocks a dynamic one stores, what the parent of a differencing one is,\n"
			"and which of Azure's five rules for an upload FILE keeps. Of a VHDX: sizes,\n"
			"ids, blocks, parent, and whether its log is to be replayed (it is, in memory).\n"
			"Exit: 0 a sound VHD or VHDX, 3 damaged or neither, 1 not readable.\n",
		.run = verb_vhd_info,
	},
	{
		.name = "vhd check",
		.operands = "[--fix] [--json] FILE",
		.summary = "would Azure take it? if not, what mends it",
		.help = "Hold FILE against Azure's five rules for a disk to upload, a line for each, with\n"
			"the command that mends what is broken. --fix writes the footer anew where that is\n"
			"lost, damaged or says less than there is: from its copy in a dynamic VHD, or from\n"
			"the length of the file; no byte of the disk is touched, and a file in use is\n"
			"refused. Exit: 0 Azure takes it, 3 it does not, 1 not checked or not written.\n",
		.run = verb_vhd_check,
	},
	{
		.name = "attach",
		.operands = "[--via WAY] [KEYSOURCE] IMAGE [NAME]",
		.summary = "the disk of an image as a block device",
		.help = "Show the disk of IMAGE as a block device of this host, wait until it can be used, and\n"
			"print its path. A daemon that serves IMAGE already goes on doing so, and needs no\n"
			"key from here; else one is started for it with KEYSOURCE, one of the key options\n"
			"below, and ends with detach. NAME, by which detach knows it, is the image's file\n"
			"name without its suffix if it is not given. To attach what is attached changes\n"
			"nothing, but for a daemon that has died: another takes its place. Wants root, and\n"
			"for --via nbd the kernel's module nbd.\n",
		.may_have_two = true,
		.check = verb_attach_check,
		.run = verb_attach,
	},
	{
		.name = "detach",
		.operands = "[--force] IMAGE|NAME|DEVICE",
		.summary = "take the block device away",
		.help = "Take away the block device that attach has made, named by its image, its name or\n"
			"its path, and wait until it is gone. A daemon that attach has started ends: first\n"
			"it writes what it has, and closes the image. A device that is mounted, or otherwise\n"
			"in use, is left alone unless --force is said. To detach what is not attached\n"
			"changes nothing.\n",
		.run = verb_detach,
	},
	{ 0 },
};

static enum tool_exit tool_exit_of(int result)
{
	if (result == 0)
		return TOOL_OK;
	if (result == -EUCLEAN)
		return TOOL_REFUSED;
	return result == -EKEYREJECTED ? TOOL_KEY : TOOL_FAILED;
}

/* What was printed counts only when it arrived. */
static int finish_stdout(struct problem *problem)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	problem_set(problem, "standard", "output", "cannot be written: %s", strerror(errno));
	return -EIO;
}

static int run(const struct tool_options *options, struct problem *problem)
{
	if (options->help)
		tool_print_help(options->verb);
	else if (options->version)
		printf("sealblk %s\n", SEALBLK_VERSION);
	else
		return options->verb->run(options, problem);
	return 0;
}

/* An empty text: the verb has printed all there is to say. */
static enum tool_exit complain(const struct problem *problem, enum tool_exit code)
{
	if (!problem->text[0])
		return code;
	fputs("sealblk: ", stderr);
	print_text(stderr, problem->text);
	fputc('\n', stderr);
	return code;
}

int main(int argc, char **argv)
{
	struct tool_options options;
	struct problem problem = { 0 };
	bool runs;
	int r;

	/* A file too large for ulimit -f shall be an error, not the end. */
	signal(SIGXFSZ, SIG_IGN);
	/* Whoever started us may ignore it, and then no child could be waited for. */
	signal(SIGCHLD, SIG_DFL);
	r = log_reserve_standard_fds();
	if (r < 0) {
		problem_set(&problem, "file", "/dev/null", "cannot be opened: %s", strerror(-r));
		return (int)complain(&problem, TOOL_FAILED);
	}
	r = tool_options_parse(&options, argc, argv, &problem);
	runs = r == 0 && !options.help && !options.version;
	if (runs && options.verb->check)
		r = options.verb->check(&options, &problem);
	if (r < 0)
		return (int)complain(&problem, r == -ENOMEM ? TOOL_FAILED : TOOL_USAGE);
	if (runs && options.verb->has_keys) {
		r = key_mem_harden_process();
		if (r < 0)
			problem_set(&problem, "process", "sealblk", "cannot protect its memory: %s",
				    strerror(-r));
	}
	if (r == 0)
		r = run(&options, &problem);
	if (r == 0 || !problem.text[0]) {
		int finished = finish_stdout(&problem);

		r = finished < 0 ? finished : r;
	}
	return (int)(r == 0 ? TOOL_OK : complain(&problem, tool_exit_of(r)));
}
