#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of a power-cut test: /dev/vda is the disk whose writes are
# logged, with a file system of type $host_fs and, behind it, the places of the marks; /dev/vdb
# takes the history of the load. The daemon serves two images that lie on the file system:
# "raw", under a load through its socket, and "disk", under a file system in the kernel's
# NBD client. The machine is then switched off as if its power went: nothing is unmounted.
set -e
: "${host_fs:?}" "${disk_fs:?}" "${changes:?}" "${steps:?}" "${seed:?}"
: "${raw_mark:?}" "${files_mark:?}"
export XDG_RUNTIME_DIR=/run

# What is in the page cache goes to the disk early, in small pieces: more states to cut at.
echo 10 >/proc/sys/vm/dirty_writeback_centisecs
echo 20 >/proc/sys/vm/dirty_expire_centisecs

mkdir /host /disk
# With discard, what the daemon punches out of an image is a discard on the disk.
mount -t "$host_fs" -o discard /dev/vda /host
echo "kernel=$(uname -r)"
/programs/sealblkd --socket /run/s --key-file /host/key --export raw=/host/raw.seal \
	--export disk=/host/disk.seal >/run/log 2>&1 &
until grep -q ready /run/log; do
	[ -d /proc/$! ] || break
	sleep 0.1
done
cat /run/log
/programs/nbd-client -unix /run/s /dev/nbd0 -name disk
mount -t "$disk_fs" /dev/nbd0 /disk

/programs/powercut load /run/s raw /dev/vda "$raw_mark" /dev/vdb "$seed" "$changes" &
load=$!
/programs/powercut files-write /disk /dev/vda "$files_mark" "$seed" "$steps"
wait $load
