#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk key revoke while the disk hangs: a file system on a loop device whose own
# file system is frozen. Two seconds later no key is in memory all the same; when
# the disk comes back the image is revoked, and after a restart nothing is lost.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

((EUID == 0)) || skip "needs root, to mount and freeze file systems"
need_libnbd
need qemu-io jq mkfs.ext4 fsfreeze
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
make_key key

end() {
	local status=$?
	trap - EXIT ERR
	set +e
	fsfreeze -u outer 2>/dev/null
	((status == 0)) || cat "$daemon_log"
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	# A killed daemon's last I/O may still be under way.
	wait_for 10 umount inner 2>/dev/null
	wait_for 10 umount outer 2>/dev/null
	(exit $status)
	cleanup
}
mkdir outer inner
truncate -s 300M outer.img
mkfs.ext4 -q outer.img
mount -o loop outer.img outer 2>/dev/null || skip "may not mount a loop device here"
trap end EXIT
truncate -s 200M outer/inner.img
mkfs.ext4 -q outer/inner.img
mount -o loop outer/inner.img inner
"$sealblk" create --size 32M --key-file key inner/image.seal
sync -f inner

start_daemon --workers 2 --socket "$socket" --key-file key inner/image.seal
nbd_io "$socket" 'write -P 1 0 64k' flush
fsfreeze -f outer
# Should anything in here wait for the disk, it is not for ever.
(sleep 60; fsfreeze -u outer) 2>/dev/null &
own_pid $!
# Acknowledged, and not flushed.
timeout 5 "$python" - "$(nbd_uri "$socket")" <<'PY'
import nbd, os, sys
handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
handle.pwrite(b"\2" * 65536, 1 << 20)
os._exit(0)
PY
"$sealblk" key revoke inner/image.seal >revoked 2>&1 &
revoking=$!
own_pid $revoking
wait_for 10 grep -q 'left memory after 2[0-9][0-9][0-9] ms' "$daemon_log" ||
	fail "the keys have not left memory after two seconds"
status=0
"$SRC_DIR/tests/tools/find_image_keys.py" "$daemon_pid" inner/image.seal --key-file key || status=$?
expect_equal 1 "$status" "the search of the memory"
kill -0 $revoking || fail "key revoke has not waited for the disk: $(cat revoked)"
timeout 5 qemu-io -f raw -r -c 'read 0 512' "$(nbd_uri "$socket")" >output 2>&1 || true
expect_output 'read failed: Operation not permitted'

fsfreeze -u outer
wait $revoking || fail "key revoke: $(cat revoked)"
disown_pid $revoking
grep -q 'was revoked without being closed cleanly: its disk is too slow' "$daemon_log" ||
	fail "not in the log"
expect_exit 1 "$sealblk" key restore --key-file key inner/image.seal
expect_output 'stop its daemon, then restore it$'
status=0
kill -TERM "$daemon_pid"
wait "$daemon_pid" || status=$?
disown_pid "$daemon_pid"
expect_equal 1 $status "exit of a daemon that could not close its image"
expect_equal '["unclean",true]' "$("$sealblk" info --json inner/image.seal | jq -c '[.state, .revoked]')"
expect_exit 4 "$sealblkd" --socket "$socket" --key-file key inner/image.seal
expect_exit 0 "$sealblk" key restore --key-file key inner/image.seal
start_daemon --socket "$socket" --key-file key inner/image.seal
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 2 1M 64k'
stop_daemon
expect_exit 0 "$sealblk" check --key-file key inner/image.seal
