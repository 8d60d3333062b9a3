#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-dm-sealblk-hostile.sh.
set -e
: "${seconds:?}"

# No line of the kernel's log may tell of trouble.
log_is_clean() {
	if dmesg | grep -E 'WARNING|BUG|Oops|blocked for more|lockup|refcount|general protection|stall'; then
		echo "the kernel's log has that, $1"
		exit 1
	fi
}

insmod /job/dm-sealblk.ko renew_s=1
/programs/dmsetup create vm --table "0 16384 sealblk vm queue_depth 16 max_io_kib 64"
chmod 666 /dev/sealblk/vm
/programs/bad_dm_daemon /dev/dm-0 /dev/sealblk/vm 16384
log_is_clean "after the cases"
for mistake in "a tag out of range" "a commit of nothing" "a second fetch" "another version" \
	"no errno" "not as long" "may not write" "before it has mapped" "before it has said" \
	"an unknown command" "request that is over" "has not made the device" "has it open"; do
	dmesg | grep "sealblk: vm: refused process .*$mistake" >/run/lines || { echo "no line: $mistake"; exit 1; }
	lines=$(wc -l </run/lines)
	[ "$lines" -le 20 ] || { echo "$lines lines: $mistake"; exit 1; }
done
/programs/bad_dm_daemon /dev/dm-0 /dev/sealblk/vm 16384 garbage "$seconds"
# What still waits is handed back, and fails.
/programs/dmsetup remove --force --retry --noudevsync vm
rmmod dm_sealblk
log_is_clean "after garbage"
dmesg | grep sealblk | tail -n 5
