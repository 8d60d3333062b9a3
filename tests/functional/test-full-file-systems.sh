#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ext4, XFS and tmpfs filled up by scattered small writes: ENOSPC is the answer
# to a WRITE, TRIM or WRITE_ZEROES, never to a FLUSH; what was acknowledged is
# there after kill -9, a clean stop and a new mount; with space again the same
# connection goes on. SEED=N repeats a run.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
((EUID == 0)) || skip "needs root, to mount file systems"
cd "$TEST_DIR"
socket=$TEST_DIR/s
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
client=$SRC_DIR/tests/tools/full_disk.py
make_key key
"$client" base base.raw
mkdir disk
mounted=''

unmount() {
	[[ $mounted ]] || return 0
	# The kernel lets go of the files of a ring that has ended a moment later.
	wait_for 10 umount "$TEST_DIR/disk" || umount "$TEST_DIR/disk" || true
	mounted=''
}

cleanup_mount() {
	local pid
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	unmount
}
trap 'status=$?; set +e; cleanup_mount; (exit $status); cleanup' EXIT

# make_fs NAME: returns 1 where it cannot be had here.
make_fs() {
	case $1 in
	tmpfs) return 0 ;;
	ext4) truncate -s 96M ext4.fs && mkfs.ext4 -q -m 0 ext4.fs ;;
	xfs) truncate -s 320M xfs.fs && mkfs.xfs -q xfs.fs ;;
	esac
}

mount_fs() {
	case $1 in
	tmpfs) mount -t tmpfs -o size=64M none disk ;;
	*) mount -t "$1" -o loop "$1.fs" disk ;;
	esac 2>mount.log || return 1
	mounted=1
}

# fill_but MIB: a file that leaves so much.
fill_but() {
	local free
	free=$(($(stat -f -c '%a * %S' disk)))
	fallocate -l $((free - $1 * 1024 * 1024)) disk/filler
}

serve() {
	start_daemon --socket "$socket" --key-file key disk/image.seal
}

check_disk() {
	"$client" check "$socket" state
}

# A new mount shows what the file system has really taken. A tmpfs has none.
mount_again() {
	[[ $1 != tmpfs ]] || return 0
	unmount
	mount_fs "$1"
}

try_fs() {
	local fs=$1
	rm -f state
	"$sealblk" create --base base.raw --key-file key disk/image.seal >create.log
	fill_but 20
	serve
	"$client" fill "$socket" state "$seed" >fill.log
	kill_daemon
	mount_again "$fs"

	# Still full: recovery and a clean close need no more space.
	serve
	check_disk
	stop_daemon
	mount_again "$fs"
	expect_exit 0 "$sealblk" check --key-file key disk/image.seal >check.log
	serve
	check_disk
	"$client" fill --filler disk/filler "$socket" state $((seed + 1))
	check_disk
	stop_daemon
	grep -Eq 'recovered|error' "$daemon_log" && fail "not a clean run"
	mount_again "$fs"
	serve
	check_disk
	stop_daemon
	echo "$fs: $(cat fill.log)"
}

tried=''
for fs in tmpfs ext4 xfs; do
	if ! { make_fs $fs && mount_fs $fs; } 2>mkfs.log; then
		echo "$fs is left out: $(tail -n 1 mkfs.log mount.log 2>/dev/null | tail -n 1)"
		continue
	fi
	try_fs $fs
	unmount
	tried+=" $fs"
done
[[ $tried ]] || skip "no file system can be mounted here"
echo "figures: full$tried; ENOSPC never first at FLUSH, 0 acknowledged changes lost"
