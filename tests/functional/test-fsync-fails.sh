#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# An fsync that really fails: the image is on ext4, on a loop device whose own
# file cannot grow any more. The FLUSH answers EIO, and so does every change from
# then on, also when the device is well again; it is said once; reads go on. After
# the next open (--accept-loss), what was flushed before is there, and the rest is old or new.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need mkfs.ext4 e2fsck
((EUID == 0)) || skip "needs root, to mount file systems"
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
mkdir below disk

cleanup_mounts() {
	local pid
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	umount "$TEST_DIR/disk" "$TEST_DIR/below" 2>/dev/null || true
}
trap 'status=$?; set +e; cleanup_mounts; (exit $status); cleanup' EXIT

serve() {
	start_daemon --socket "$socket" --key-file key "$@" disk/image.seal
}

# client STAGE: each sector holds its stage, so that old and new can be told apart.
client() {
	"$python" - "$socket" "$1" <<'PY'
import errno, sys, time
import nbd
MIB = 1 << 20
FLUSHED = range(0, 4)     # MiB: written and flushed
OVERWRITTEN = range(2, 4)  # ... and then written again
NEW = range(8, 20)         # written, never flushed
UNTOUCHED = 40
content = lambda stage: {"zero": bytes(MIB)}.get(stage) or stage.encode().ljust(16) * (MIB // 16)
handle = nbd.NBD()
handle.connect_uri("nbd+unix:///?socket=" + sys.argv[1])

def refused(what, *args):
    try:
        what(*args)
    except nbd.Error as error:
        assert error.errnum == errno.EIO, error
    else:
        raise SystemExit("%s was answered as if all were well" % what.__name__)

def holds(mib, *stages):
    data = handle.pread(MIB, mib * MIB)
    for at in range(0, MIB, 512):
        assert any(data[at:at + 512] == content(stage)[:512] for stage in stages), \
            (mib, at, data[at:at + 16])

def write():
    for mib in FLUSHED:
        handle.pwrite(content("flushed"), mib * MIB)
    handle.flush()
    try:
        for mib in (*OVERWRITTEN, *NEW):
            handle.pwrite(content("later"), mib * MIB)
    except nbd.Error as error:
        # A round that began by itself has found out first.
        assert error.errnum == errno.EIO, error

def fail():
    refused(handle.flush)
    failed()

def failed():
    other = nbd.NBD()
    other.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
    for mib in (0, 8, UNTOUCHED):
        refused(handle.pwrite, bytes(4096), mib * MIB)
        refused(other.zero, 4096, mib * MIB, nbd.CMD_FLAG_NO_HOLE)
    refused(other.trim, MIB, 0)
    refused(handle.flush)
    refused(other.flush)
    for mib in FLUSHED:
        holds(mib, "flushed", *("later",) if mib in OVERWRITTEN else ())
    holds(UNTOUCHED, "zero")

def after():
    for mib in FLUSHED:
        holds(mib, "flushed", *("later",) if mib in OVERWRITTEN else ())
    for mib in NEW:
        holds(mib, "zero", "later")
    holds(UNTOUCHED, "zero")
    handle.pwrite(content("later"), UNTOUCHED * MIB)
    handle.flush()

globals()[sys.argv[2]]()
PY
}

# try_fs WHAT END MKFS-OPTION...: END: how the failed daemon ends.
try_fs() {
	local what=$1 end=$2 status=0 free
	shift 2
	mount -t tmpfs -o size=32M none below 2>/dev/null || skip "may not mount a tmpfs here"
	truncate -s 64M below/disk.fs
	mkfs.ext4 -q -m 0 "$@" below/disk.fs
	mount -o loop below/disk.fs disk 2>mount.log || skip "$(<mount.log)"
	"$sealblk" create --size 64M --key-file key disk/image.seal >create.log
	sync -f disk
	serve
	free=$(($(stat -f -c '%a * %S' below)))
	fallocate -l $((free - 8 * 1024 * 1024)) below/filler
	"$sealblk" events disk/image.seal >followed 2>followed.problem &
	follower=$!
	own_pid "$follower"
	wait_for 5 grep -q 'encryption is on' followed || fail "events did not begin"
	client write
	client fail
	rm below/filler
	client failed
	expect_equal 1 "$(grep -c 'image disk/image.seal: .*failed' "$daemon_log")" "lines about it"
	wait_for 5 grep -q 'writing has failed: ' followed || fail "no event about it"
	"$sealblk" events disk/image.seal >state &
	own_pid $!
	wait_for 5 grep -q 'encryption is on.*; writing has failed' state ||
		fail "the state does not tell of it"
	if [[ $end == kill ]]; then
		kill_daemon
	else
		kill -TERM "$daemon_pid"
		wait "$daemon_pid" || status=$?
		disown_pid "$daemon_pid"
		expect_equal 1 "$status" "exit status"
		grep -q 'could not be closed cleanly' "$daemon_log" || fail "closed as if all were well"
	fi
	wait "$follower" || true
	disown_pid "$follower"
	expect_equal 1 "$(grep -c 'writing has failed' followed)" "events about it"
	umount disk
	e2fsck -fp below/disk.fs >fsck.log || (($? < 4)) || { cat fsck.log; fail "fsck"; }
	mount -o loop below/disk.fs disk
	expect_exit 3 "$sealblkd" --socket "$socket" --key-file key disk/image.seal >refused.log
	expect_output '^sealblkd: error: image disk/image.seal: failed to write.*--accept-loss'
	serve --accept-loss
	client after
	stop_daemon
	serve
	stop_daemon
	expect_exit 0 "$sealblk" check --key-file key disk/image.seal >check.log
	umount disk below
	echo "$what: as it should be"
}

try_fs 'ext4 without a journal, stopped' stop -O ^has_journal
try_fs 'ext4 without a journal, killed' kill -O ^has_journal
try_fs 'ext4, stopped' stop
