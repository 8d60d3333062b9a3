#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The image's file system is full: writes that need space answer ENOSPC, and
# nothing else is harmed; with space again, they work again.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
((EUID == 0)) || skip "needs root, to mount a small tmpfs"
cd "$TEST_DIR"
socket=$TEST_DIR/s
mkdir small
mount -t tmpfs -o size=24M none small 2>/dev/null || skip "may not mount a tmpfs here"

unmount() {
	local pid
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	umount "$TEST_DIR/small"
}
trap 'status=$?; set +e; unmount; (exit $status); cleanup' EXIT

make_key key
"$sealblk" create --size 64M --key-file key small/image.seal

# client FIRST: a MiB at a time from MiB FIRST on until the disk is full; what is there stays
# there, can be overwritten and flushed. Prints how many were written.
client() {
	"$python" - "$socket" "$1" <<'PY'
import errno, sys
import nbd
MIB = 1 << 20
handle = nbd.NBD()
handle.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
at = int(sys.argv[2])
content = lambda number: b"%015d;" % number * (MIB // 16)
try:
    while True:
        handle.pwrite(content(at), at * MIB)
        at += 1
except nbd.Error as error:
    assert error.errnum == errno.ENOSPC, error
handle.flush()
for again in range(3):
    try:
        handle.pwrite(bytes(MIB), at * MIB)
        raise SystemExit("written after all")
    except nbd.Error as error:
        assert error.errnum == errno.ENOSPC, error
    handle.flush()
handle.pwrite(content(0), 0, flags=nbd.CMD_FLAG_FUA)
for number in range(at):
    assert handle.pread(MIB, number * MIB) == content(number), number
print(at)
PY
}

start_daemon --socket "$socket" --key-file key small/image.seal
written=$(client 0)
((written >= 10 && written < 24)) || fail "full after $written MiB"

# Space comes free, from elsewhere and from a TRIM.
mount -o remount,size=32M "$TEST_DIR/small"
more=$(client "$written")
((more > written)) || fail "nothing more could be written"
"$python" - "$socket" "$more" <<'PY'
import sys, time
import nbd
MIB, more = 1 << 20, int(sys.argv[2])
handle = nbd.NBD()
handle.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
handle.trim(4 * MIB, (more - 4) * MIB)
handle.flush()
# The place comes free when the trim is durable, a moment later.
end = time.monotonic() + 10
while True:
    try:
        handle.pwrite(b"x" * MIB, 50 * MIB)
        break
    except nbd.Error:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
handle.flush()
PY
stop_daemon
grep -q recover "$daemon_log" && fail "recovered"

start_daemon --socket "$socket" --key-file key small/image.seal
grep -q recover "$daemon_log" && fail "was not closed cleanly"
"$python" - "$socket" "$more" <<'PY'
import sys
import nbd
MIB, more = 1 << 20, int(sys.argv[2])
handle = nbd.NBD()
handle.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
for number in range(more - 4):
    assert handle.pread(MIB, number * MIB) == b"%015d;" % number * (MIB // 16), number
assert handle.pread(4 * MIB, (more - 4) * MIB) == bytes(4 * MIB)
assert handle.pread(MIB, 50 * MIB) == b"x" * MIB
PY
stop_daemon
