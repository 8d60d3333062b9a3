#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-reconnect.sh: a load on a block device, $rounds rounds of
# the daemon's death, and the load's verdict. $way: how the kernel's client of a daemon in
# here comes back, "nbdkit" or "netlink"; "dm": the device is dm-sealblk's; or "qemu": the device is /dev/vda, who kills is
# outside, is told with "writes=N" how the load gets on, and says "end" on /dev/vdb.
set -e
: "${way:?}" "${rounds:?}" "${seed:?}"
export XDG_RUNTIME_DIR=/run
device=/dev/nbd0
listen="--socket /run/vm.sock"

serve() {
	: >/run/log	# now, and not when the daemon has started
	# shellcheck disable=SC2086  # two words
	/programs/sealblkd $listen --key-file /key /disk.seal >>/run/log 2>&1 &
	daemon=$!
	until grep -q ready /run/log; do
		[ -d /proc/$daemon ] || { cat /run/log; return 1; }
		usleep 50000
	done
}

make_disk() {
	(umask 077 && head -c 64 /dev/urandom >/key)
	/programs/sealblk create --size 8M --key-file /key /disk.seal
	serve
}

# How many writes the device has completed.
count_writes() {
	awk '{ print $5 }' "/sys/block/${device#/dev/}/stat"
}

# die_under_load ROUND: not before the load runs again.
die_under_load() {
	from=$(count_writes) tries=0 signal=KILL
	while [ "$(count_writes)" -lt $((from + 30)) ]; do
		[ $tries -lt 600 ] || { echo "the load stands still"; return 1; }
		usleep 100000
		tries=$((tries + 1))
	done
	usleep $(((seed * 7919 + $1 * 104729) % 300000))
	[ $(($1 % 2)) = 0 ] || signal=SEGV
	kill -$signal "$daemon"
	wait "$daemon" 2>/dev/null || true
	echo "round $1: $signal after $(($(count_writes) - from)) writes"
}

case $way in
qemu)
	device=/dev/vda
	;;
nbdkit)
	make_disk
	/job/attach
	;;
dm)
	device=/dev/dm-0
	listen="--dm vm"
	insmod /job/dm-sealblk.ko
	/programs/dmsetup create vm --notable
	/programs/dmsetup reload vm --table "0 16384 sealblk vm"
	make_disk
	/programs/dmsetup resume vm
	;;
netlink)
	make_disk
	/programs/nbd-client -unix /run/vm.sock $device
	/programs/powercut reconnect /run/vm.sock $device
	;;
esac

/programs/powercut device $device "$seed" /run/stop &
load=$!
if [ "$way" = qemu ]; then
	until dd if=/dev/vdb bs=512 count=1 iflag=direct 2>/dev/null | grep -q end; do
		echo "writes=$(count_writes)"
		usleep 300000
	done
	rounds=0
fi
for i in $(seq "$rounds"); do
	die_under_load "$i"
	serve
	grep -q recovered /run/log
	[ "$way" != netlink ] || /programs/powercut reconnect /run/vm.sock $device
done
touch /run/stop
wait $load
[ "$way" != dm ] || /programs/dmsetup status vm
dmesg | grep -E 'WARNING|BUG|Oops|blocked for more|lockup' && exit 1
exit 0
