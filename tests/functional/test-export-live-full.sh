#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# An export of an image in use, where what clients overwrite finds no place: the scratch file's
# file system is full, or hangs. The export is given up, and clients go on.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/export-live.sh"

((EUID == 0)) || skip "needs root, to mount and freeze file systems"
need qemu-io mkfs.ext4 fsfreeze jq strace pgrep
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
make_key key
mkdir small slow
mount -t tmpfs -o size=12M none small 2>/dev/null || skip "may not mount a tmpfs here"

end() {
	local status=$? pid
	trap - EXIT ERR
	set +e
	fsfreeze -u slow 2>/dev/null
	((status == 0)) || cat "$daemon_log"
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	umount small 2>/dev/null
	wait_for 10 umount slow 2>/dev/null
	(exit $status)
	cleanup
}
trap end EXIT
truncate -s 200M slow.img
mkfs.ext4 -q slow.img
mount -o loop slow.img slow 2>/dev/null || skip "may not mount a loop device here"

"$sealblk" create --size 64M --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal

# given_up WHY: it says so, and nothing stays.
given_up() {
	end_export
	expect_equal 1 $status "exit status"
	expect_equal "sealblk: image image.seal: its export was given up, its clients were not disturbed: $1" \
		"$(cat said)"
}

# ---- full ----

nbd_io "$socket" 'write -P 0x21 0 40M' 'write -z 0 36M'
begin_export small/x.vhd 4
# What was nothing costs nothing to keep.
nbd_io "$socket" 'write -P 0x22 0 36M'
expect_exit 0 "$sealblk" info image.seal
! grep -q 'given up' "$daemon_log" || fail "given up for zeros"
end_export
expect_equal 0 $status "exit status"
rm small/x.vhd
begin_export small/x.vhd 9
nbd_io "$socket" 'write -P 0x23 0 64M' 'read -P 0x23 0 64M'
wait_for 10 grep -q 'its export was given up: No space left on device' "$daemon_log" ||
	fail "not given up"
# The space is free before the exporter has heard of it.
enough() {
	(($(df --output=used -k small | tail -1) < 8192))
}
wait_for 10 enough || fail "not free: $(df small)"
given_up 'its scratch file has no space for what clients have overwritten since'
[[ ! $(ls small) ]] || fail "left: $(ls small)"

# ---- hanging ----

# With libaio workers write to files themselves (docs/conversions.md): clients would wait.
descriptors=$(ls -l "/proc/$daemon_pid/fd")
if [[ $descriptors != *io_uring* ]]; then
	stop_daemon
	echo "figures: with libaio, so without a scratch file that hangs"
	exit 0
fi
nbd_io "$socket" 'write -P 0x24 0 64M'
begin_export slow/x.vhd 3
sync -f slow
fsfreeze -f slow
SECONDS=0
nbd_io "$socket" 'write -P 0x25 0 64M' 'read -P 0x25 0 64M'
took=$SECONDS
((took < 8)) || fail "clients waited for $took s"
wait_for 10 grep -q 'revoked' <("$sealblk" key revoke image.seal) || fail "cannot be revoked"
expect_exit 0 "$sealblk" key restore --key-file key image.seal
nbd_io "$socket" 'write -P 0x26 0 64M'
fsfreeze -u slow
given_up 'its scratch file is so slow that they would have had to wait'
[[ ! $(ls slow) || $(ls slow) == lost+found ]] || fail "left: $(ls slow)"
expect_exit 0 "$sealblk" export image.seal slow/x.vhd
stop_daemon
echo "figures: clients waited $took s for a scratch file that hangs"
