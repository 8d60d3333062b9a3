#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# Runs in the small guest of test-attach-nbd.sh.
set -e
# shellcheck source-path=SCRIPTDIR source=attach-common.sh
. /job/attach-common.sh
sealblkd=/programs/sealblkd

# Nothing that attach has started or made is there any more.
nothing_left() {
	no_daemon_left
	! cat /sys/block/nbd*/backend 2>/dev/null || fail "a device is left"
}

$sealblk create --size 48M --key-file key vm.seal
$sealblk create --size 32M --key-file key other.seal

# ---- as the README has it ---------------------------------------------------------------
sh -e /job/readme.sh
nothing_left
echo '- README'

# ---- what cannot be -------------------------------------------------------------------
rmmod nbd
try 1 $sealblk attach --key-file key vm.seal
said 'modprobe nbd'
try 0 $sealblk detach vm.seal
said 'vm.seal is not attached'
nothing_left
insmod "/modules/$(grep nbd /modules/order)"
try 4 $sealblk attach --key-file wrong vm.seal
said 'none of the keys given opens it'
nothing_left
try 1 $sealblk attach --key-file missing vm.seal
said 'missing'
nothing_left
try 1 $sealblk attach --key-file key nowhere.seal
said 'nowhere.seal'
echo 'not an image' >bad.seal
try 3 $sealblk attach --key-file key bad.seal
said 'bad.seal'
try 1 $sealblk attach vm.seal
said 'wants a key'
nothing_left
echo '- refusals'

# ---- one disk, all its life -------------------------------------------------------------
begin=$(uptime_s)
device=$($sealblk attach --key-file key vm.seal)
no_leak
echo "attached as $device in $(($(uptime_s) - begin)) s"
[ "$device" = /dev/nbd0 ] || fail "as $device"
[ "$(cat /sys/block/nbd0/size)" = 98304 ] || fail "a size of $(cat /sys/block/nbd0/size)"
[ "$(cat /sys/block/nbd0/queue/logical_block_size)" = 512 ] || fail "another block size"
[ "$(cat /sys/block/nbd0/queue/discard_max_bytes)" -gt 0 ] || fail "no discard"
[ "$(cat /sys/block/nbd0/queue/fua)" = 1 ] || fail "no FUA"
ls /sys/block/nbd0/mq
cat /sys/block/nbd0/backend
/programs/mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$device"
mount -t ext4 "$device" /mnt
head -c 6000000 /dev/urandom >/mnt/file
sha256sum /mnt/file >sum
[ "$($sealblk attach vm.seal)" = "$device" ] || fail "another device the second time"
[ "$($sealblk attach --via nbd /tmp/../tmp/vm.seal vm)" = "$device" ] || fail "the third time"
try 1 $sealblk attach vm.seal other-name
said 'by the name of vm: detach it first'
sha256sum -c sum >/dev/null
try 1 $sealblk detach vm.seal
said '/dev/nbd0: is in use'
sha256sum -c sum >/dev/null
umount /mnt
try 0 $sealblk detach vm.seal
[ ! -s said ] || fail "detach said $(cat said)"
nothing_left
try 0 $sealblk detach vm.seal
said 'vm.seal is not attached'
try 0 $sealblk detach vm
said 'vm is not attached'
$sealblk check --key-file key vm.seal
[ "$($sealblk attach --key-file key vm.seal)" = "$device" ] || fail "another device later"
mount -t ext4 "$device" /mnt
sha256sum -c sum >/dev/null
umount /mnt
try 0 $sealblk detach vm.seal
echo '- a life'

# ---- two at once for one image -----------------------------------------------------------------
$sealblk attach --key-file key vm.seal >one &
$sealblk attach --key-file key vm.seal >two
wait $!
[ "$(cat one two)" = "$device
$device" ] || fail "not one device: $(cat one two)"
try 0 $sealblk detach vm.seal
nothing_left

# ---- as a service: the daemon becomes the main process in the very message that says ready ----------
/programs/hear_notify /run/notify $sealblk attach --key-file key vm.seal >heard
grep -Eq "^READY=1 .*MAINPID=" heard || fail "systemd was told: $(cat heard)"
sed -n 's/.*MAINPID=//p' heard | grep -qx "$(pidof sealblkd | tr ' ' '\n' | sort -n | head -n 1)" ||
	fail "not the daemon ($(pidof sealblkd)): $(cat heard)"
try 0 $sealblk detach vm.seal
nothing_left
echo '- service'

# ---- two, by their names ---------------------------------------------------------------------
[ "$($sealblk attach --key-file key vm.seal)" = "$device" ] || fail "another device than before"
second=$($sealblk attach --key-file key other.seal second)
[ "$second" = /dev/nbd1 ] || fail "the second as $second"
[ "$($sealblk attach other.seal)" = "$second" ] || fail "not found by its image"
yes sealed | head -c 1048576 >pattern
dd if=pattern of="$second" bs=64k 2>/dev/null
try 0 $sealblk detach second
[ "$(cat /sys/block/nbd0/size)" = 98304 ] || fail "the first one is gone"
[ "$(pidof sealblkd | wc -w)" = 2 ] || fail "not one daemon and its helper: $(pidof sealblkd)"
second=$($sealblk attach --key-file key other.seal)
head -c 1048576 "$second" | cmp - pattern
try 0 $sealblk detach "$second"
try 0 $sealblk detach vm
nothing_left
echo '- two'

# ---- a daemon of somebody else's, which stays ---------------------------------------------------
$sealblkd --socket /tmp/s --key-file key --export disk=vm.seal >daemon.log 2>&1 &
theirs=$!
until grep -q ready daemon.log; do sleep 0.1; done
device=$($sealblk attach vm.seal disk)
mount -t ext4 "$device" /mnt
sha256sum -c sum >/dev/null
umount /mnt
try 0 $sealblk detach disk
kill -0 $theirs || fail "detach has ended a daemon that it had not started"
kill $theirs
wait $theirs
$sealblkd --listen 127.0.0.1:10809 --key-file key vm.seal >daemon.log 2>&1 &
theirs=$!
until grep -q ready daemon.log; do sleep 0.1; done
try 1 $sealblk attach vm.seal
said 'no unix socket'
kill $theirs
wait $theirs
nothing_left
echo '- theirs'

# ---- a daemon that dies: another takes its place under the file system -----------------------------------
device=$($sealblk attach --key-file key vm.seal)
mount -t ext4 "$device" /mnt
echo 'before' >/mnt/before
sync
kill_daemons
sleep 1
try 1 $sealblk attach vm.seal
said 'wants a key'
[ "$($sealblk attach --key-file key vm.seal)" = "$device" ] || fail "another device for the new daemon"
echo 3 >/proc/sys/vm/drop_caches
sha256sum -c sum >/dev/null
echo 'after' >/mnt/after
sync
umount /mnt
try 0 $sealblk detach "$device"
nothing_left
$sealblk check --key-file key vm.seal
device=$($sealblk attach --key-file key vm.seal)
mount -t ext4 "$device" /mnt
[ "$(cat /mnt/before /mnt/after)" = "before
after" ] || fail "what was written is not there"

# ---- force -------------------------------------------------------------------------------------
try 0 $sealblk detach --force vm.seal
! pidof sealblkd >/dev/null || fail "a daemon is left"
try 1 $sealblk attach --key-file key vm.seal
said 'was detached while it was in use'
umount /mnt
nothing_left
$sealblk check --key-file key vm.seal
[ "$($sealblk attach --key-file key vm.seal)" = "$device" ] || fail "another device after force"
try 0 $sealblk detach "$device"
nothing_left
echo '- deaths'
echo "figures=$(uptime_s) s of the guest"
