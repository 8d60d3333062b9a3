#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-dm-sealblk-speed.sh: one image, one daemon, and two ways to
# it, loaded in turn. Prints "NAME_WAY=N" for each load and way and round.
set -e
: "${seconds:?}" "${rounds:?}"
export XDG_RUNTIME_DIR=/run

insmod /job/dm-sealblk.ko
(umask 077 && head -c 64 /dev/urandom >/key)
/programs/sealblk create --size 128M --key-file /key /disk.seal
/programs/dmsetup create vm --notable
/programs/dmsetup reload vm --table "0 262144 sealblk vm"
/programs/sealblkd --dm vm --socket /run/vm.sock --key-file /key /disk.seal >/run/log 2>&1 &
until grep -q ready /run/log; do
	[ -d /proc/$! ] || { cat /run/log; exit 1; }
	usleep 50000
done
/programs/dmsetup resume vm
/programs/nbd-client -unix /run/vm.sock /dev/nbd0
dd if=/dev/urandom of=/dev/dm-0 bs=1M count=128 oflag=direct 2>/dev/null

# load NAME FIELD OPTION...: FIELD of fio's terse line: IOPS or KiB/s of reads or writes.
load() {
	name=$1 field=$2
	shift 2
	for way in dm-0 nbd0; do
		value=$(/programs/fio --minimal --name=load --filename=/dev/$way --ioengine=libaio \
			--direct=1 --time_based --runtime="$seconds" --size=100% "$@" | cut -d';' -f"$field")
		echo "${name}_${way%0}=$value" | sed 's/-//'
	done
}

for _ in $(seq "$rounds"); do
	load randread 8 --rw=randread --bs=4k --iodepth=32
	load randwrite 49 --rw=randwrite --bs=4k --iodepth=32
	load read 7 --rw=read --bs=1M --iodepth=4
	load write 48 --rw=write --bs=1M --iodepth=4
done
/programs/nbd-client -d /dev/nbd0
/programs/dmsetup remove vm
