# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The power fails under a daemon on a file system, again and again. A guest runs it once,
# with a load, on a disk whose writes QEMU logs (blklogwrites); then, for many places in the
# log, the host makes the disk as a power cut there may have left it, and looks at all that
# lies on it, layer by layer:
#
#   the file system of the host, mounted (it recovers) and found clean by its fsck;
#   the images on it, found sound, served by a daemon of this host, which recovers them, and
#   found sound again;
#   the image "raw": each sector holds what was promised or something later (powercut verify);
#   the file system in the image "disk", likewise mounted and found clean;
#   the files on it: those that were synced are whole (powercut files-check).
#
# What was promised at a cut, marks on the same disk say.
#
# After a failure the log and what belongs to it are kept in build/tests/power-cut-HOST_FS/, and
# "test-power-cut-HOST_FS.sh POSITION SEED" repeats the one cut that failed. SEED=N repeats the
# workload's choices, but not its timing.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"

need nbdcopy losetup mkfs.xfs xfs_repair mke2fs e2fsck
((EUID == 0)) || skip "needs root, to mount file systems"
[[ -e /dev/loop-control ]] || skip "needs loop devices"
powercut=$BUILD_DIR/tests/powercut
guest_sealblkd=${GUEST_SEALBLKD:-$sealblkd}	# a mutant, to see that it is caught
mib=$((1 << 20))
fs_mib=320	# XFS is not made smaller than 300
raw_mark=$(((fs_mib + 2) * mib))
files_mark=$((raw_mark + 4096))
mounted=()	# what the test has mounted, last first

# leave_mounts: the end of the test, before lib.sh's cleanup.
leave_mounts() {
	local status=$? pid where
	trap - ERR
	set +e
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	((status == 0 || status == 77)) || [[ ${GUEST_SEALBLKD:-} ]] || keep_log
	cd /
	for where in ${mounted+"${mounted[@]}"}; do
		umount "$where" || umount -l "$where"
	done
	(exit $status)
	cleanup
}
trap leave_mounts EXIT

keep_log() {
	local kept=$BUILD_DIR/tests/power-cut-$host_fs cut
	[[ -s $TEST_DIR/scene/log && -e $TEST_DIR/scene/history ]] || return
	mkdir -p "$kept"
	cp --sparse=always "$TEST_DIR"/scene/{start,log,history,key,seed} "$kept"
	cut=$(sed -n '$s/cut after \([0-9]*\) entries, seed \([0-9]*\):.*/\1 \2/p' "$TEST_DIR/scene/cuts")
	echo "to repeat the last cut: tests/guest/test-power-cut-$host_fs.sh ${cut:-POSITION SEED}"
}

mount_on() {	# TYPE FILE FOLDER
	mount -t "$1" -o loop "$2" "$3" || return
	mounted=("$PWD/$3" ${mounted+"${mounted[@]}"})
}

unmount() {	# the one mounted last
	umount "${mounted[0]}"
	mounted=("${mounted[@]:1}")
}

make_fs() {	# TYPE FILE, of fs_mib
	truncate -s "${fs_mib}M" "$2"
	case $1 in
	ext4) mke2fs -q -t ext4 -J size=8 -E lazy_itable_init=0,lazy_journal_init=0 "$2" ;;
	xfs) mkfs.xfs -q "$2" ;;
	esac
}

# Its journal is recovered already: a clean one has nothing to be repaired.
check_fs() {	# TYPE FILE
	case $1 in
	ext4) e2fsck -fn "$2" ;;
	xfs) xfs_repair -n -f "$2" ;;
	esac >"$TEST_DIR/fsck.log" 2>&1 || { cat "$TEST_DIR/fsck.log"; return 1; }
}

# make_disk: "start", the disk under the guest.
make_disk() {
	mkdir host disk
	make_fs "$disk_fs" fs.raw
	mount_on "$disk_fs" fs.raw disk || skip "cannot mount $disk_fs here"
	unmount
	make_fs "$host_fs" start
	mount_on "$host_fs" start host || skip "cannot mount $host_fs here"
	make_key host/key
	"$sealblk" create --size 4M --key-file host/key host/raw.seal
	cp --sparse=always fs.raw host/base.raw
	"$sealblk" create --base host/base.raw --key-file host/key host/disk.seal
	cp host/key key
	unmount
	truncate -s $((raw_mark + mib)) start
}

# run_guest CHANGES: leaves "log" and "history".
run_guest() {
	cp --sparse=always start logged
	truncate -s 16M history
	: >log
	guest_programs=("$guest_sealblkd" "$powercut")
	run_job job-power-cut.sh 240 "host_fs=$host_fs disk_fs=$disk_fs changes=$1 steps=$steps \
seed=$seed raw_mark=$raw_mark files_mark=$files_mark" -m 512 \
		-blockdev "driver=blklogwrites,node-name=logged,discard=unmap,\
file.driver=file,file.filename=logged,file.discard=unmap,file.cache.no-flush=on,\
log.driver=file,log.filename=log,log.cache.no-flush=on" \
		-device virtio-blk-pci,drive=logged \
		-drive file=history,format=raw,if=virtio,cache=unsafe
}

check_images() {
	local image
	for image in raw disk; do
		"$sealblk" check --key-file key host/$image.seal >check.log || { cat check.log; return 1; }
	done
}

# judge_cut POSITION SEED: the disk after one power cut, bottom to top.
judge_cut() {
	local failed=0
	cp --sparse=always start cut
	"$powercut" replay log cut "$1" "$2" "$raw_mark" | tee -a cuts
	mount_on "$host_fs" cut host
	check_images
	start_daemon --socket "$TEST_DIR/s" --key-file key --export raw=host/raw.seal \
		--export disk=host/disk.seal
	"$powercut" verify "$TEST_DIR/s" raw cut "$raw_mark" history || failed=1
	rm -f disk.raw
	nbdcopy "$(nbd_uri "$TEST_DIR/s" disk)" disk.raw
	stop_daemon
	rm "$daemon_log"
	check_images
	unmount
	check_fs "$host_fs" cut
	mount_on "$disk_fs" disk.raw disk
	"$powercut" files-check disk cut "$files_mark" "$seed" "$steps" || failed=1
	unmount
	check_fs "$disk_fs" disk.raw
	return $failed
}

# choose_position: sets position, after how many entries to cut; mostly just before a flush is done,
# where most is in the cache, and the longer it has gathered, the likelier.
choose_position() {
	local mark
	position=$(((RANDOM << 15 | RANDOM) % (nr_entries + 1)))
	((RANDOM % 4)) || return 0
	for mark in "${marks[@]}"; do
		((mark <= position)) || { position=$((mark - 1)); break; }
	done
}

# judge_cuts AT_MARKS SAMPLED: that many cuts right after flushes, at even distances, and as many
# within epochs.
judge_cuts() {
	local at_marks=$1 sampled=$2 i marks nr_entries position lost
	mapfile -t marks < <("$powercut" log log)
	nr_entries=${marks[0]}
	marks=("${marks[@]:1}")
	((at_marks <= ${#marks[@]})) || at_marks=${#marks[@]}
	RANDOM=$seed
	for ((i = 1; i <= at_marks; i++)); do
		judge_cut "${marks[i * ${#marks[@]} / at_marks - 1]}" 0
	done
	for ((i = 1; i <= sampled; i++)); do
		choose_position
		judge_cut "$position" $((seed * 100000 + i))
	done
	lost=$(sed -n 's/.* writes \([0-9]*\) lost.*/\1/p' cuts | awk '{ n += $1 } END { print n }')
	((lost > sampled)) || fail "only $lost writes were lost: nothing was tried"
	echo "figures: $host_fs, $disk_fs inside: $nr_entries log entries, ${#marks[@]}" \
		"flush/FUA marks, $((at_marks + sampled)) replays, $lost writes lost, 0 violations"
}

# power_cut HOST_FS DISK_FS [POSITION SEED]: all of it, in memory; or one cut of a kept log.
power_cut() {
	host_fs=$1 disk_fs=$2 steps=150
	mkdir "$TEST_DIR/scene"
	mount -t tmpfs -o size=2G powercut "$TEST_DIR/scene" || skip "cannot mount a tmpfs"
	mounted=("$TEST_DIR/scene")
	cd "$TEST_DIR/scene"
	if (($# == 4)); then
		cp --sparse=always "$BUILD_DIR/tests/power-cut-$host_fs"/* .
		mkdir host disk
		seed=$(<seed)
		judge_cut "$3" "$4"
		return
	fi
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	echo "$seed" >seed
	make_disk
	if [[ ${SEALBLK_LONG:-} ]]; then
		run_guest 4000
		judge_cuts 80 80
	else
		run_guest 2000
		judge_cuts 20 30
	fi
}
