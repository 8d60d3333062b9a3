#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-nbd-client.sh: $phase is the function to run.
# Not busybox's applets but the real programs are called by path.
set -e
: "${port:?}" "${phase:?}"

ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0

attach() {
	/programs/nbd-client 10.0.2.2 "$port" /dev/nbd0 -name disk
	echo "nbd0 has $(cat /sys/block/nbd0/size) sectors"
}

# With the filesystem whole.
detach() {
	umount /mnt
	/programs/e2fsck -fn /dev/nbd0
	/programs/nbd-client -d /dev/nbd0
}

check_files() {
	(cd /mnt && sha256sum -c sums >/dev/null)
}

# "sectors=FIRST-LAST" for each extent of a file.
print_extents() {
	/programs/filefrag -v -b512 "$1" |
		sed -nE 's/^ +[0-9]+: +[0-9]+\.\. +[0-9]+: +([0-9]+)\.\. +([0-9]+):.*/sectors=\1-\2/p'
}

write_files() {
	attach
	echo "sha256=$(head -c 4194304 /dev/nbd0 | sha256sum | cut -d' ' -f1)"
	/programs/mke2fs -q -t ext4 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 /dev/nbd0
	mount -t ext4 /dev/nbd0 /mnt
	mkdir /mnt/small
	for i in $(seq 10); do
		yes "GUEST PLAINTEXT $i" | head -n "$i" >"/mnt/small/$i"
	done
	head -c 6000000 /dev/urandom >/mnt/large
	yes "GUEST PLAINTEXT" | head -c 8388608 >/mnt/doomed
	(cd /mnt && sha256sum large small/* >sums)
	sync
	print_extents /mnt/doomed
	detach
	attach
	mount -t ext4 /dev/nbd0 /mnt
	check_files
	grep -q 'GUEST PLAINTEXT' /mnt/doomed
	detach
}

trim() {
	attach
	mount -t ext4 /dev/nbd0 /mnt
	check_files
	rm /mnt/doomed
	sync
	fstrim -v /mnt
	check_files
	detach
}

"$phase"
