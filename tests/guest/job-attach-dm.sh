#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# Runs in the small guest of test-attach-dm.sh.
set -e
# shellcheck source-path=SCRIPTDIR source=attach-common.sh
. /job/attach-common.sh

# Nothing that attach has started or made is there any more.
nothing_left() {
	no_daemon_left
	[ "$(/programs/dmsetup ls)" = "No devices found" ] || fail "a device is left: $(/programs/dmsetup ls)"
}

$sealblk create --size 48M --key-file key vm.seal
$sealblk create --size 32M --key-file key other.seal

# ---- what cannot be -------------------------------------------------------------------
try 1 $sealblk attach --via dm --key-file key vm.seal
said 'modprobe dm-sealblk'
nothing_left
insmod /job/dm-sealblk.ko
try 4 $sealblk attach --via dm --key-file wrong vm.seal
said 'none of the keys given opens it'
nothing_left
try 1 $sealblk attach --via dm vm.seal
said 'wants a key'
nothing_left
/programs/dmsetup create vm --table '0 8 error'
try 1 $sealblk attach --via dm --key-file key vm.seal
said 'the name is taken'
/programs/dmsetup remove vm
echo '- refusals'

# ---- one disk, all its life -------------------------------------------------------------
begin=$(uptime_s)
device=$($sealblk attach --via dm --key-file key vm.seal)
no_leak
echo "attached as $device in $(($(uptime_s) - begin)) s"
[ "$device" = /dev/mapper/vm ] || fail "as $device"
/programs/lsblk -o NAME,SIZE,RO,TYPE,LOG-SEC,PHY-SEC "$device" | tee listed
[ "$(tail -n 1 listed | xargs)" = "vm 48M 0 sealblk 512 4096" ] || fail "lsblk says otherwise"
/programs/dmsetup table
/programs/dmsetup status
/programs/dmsetup info
/programs/mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$device"
mount -t ext4 "$device" /mnt
head -c 6000000 /dev/urandom >/mnt/file
sha256sum /mnt/file >sum
[ "$($sealblk attach vm.seal)" = "$device" ] || fail "another device the second time"
[ "$($sealblk attach --via dm vm.seal vm)" = "$device" ] || fail "the third time"
try 1 $sealblk attach --via nbd vm.seal
said 'via dm: detach it first'
try 1 $sealblk detach vm.seal
said '/dev/mapper/vm: is in use'
sha256sum -c sum >/dev/null
umount /mnt
try 0 $sealblk detach vm
[ ! -s said ] || fail "detach said $(cat said)"
nothing_left
try 0 $sealblk detach vm.seal
said 'vm.seal is not attached'
$sealblk check --key-file key vm.seal
echo '- a life'

# ---- two, and a daemon that dies ---------------------------------------------------------------
[ "$($sealblk attach --via dm --key-file key other.seal second)" = /dev/mapper/second ] || fail "no second"
kill_daemons
[ "$($sealblk attach --key-file key other.seal)" = /dev/mapper/second ] || fail "not found by its image"
[ "$($sealblk attach --via dm --key-file key vm.seal)" = "$device" ] || fail "another device later"
try 0 $sealblk detach /dev/mapper/second
mount -t ext4 "$device" /mnt
echo 'before' >/mnt/before
sync
kill_daemons
(echo 'between' >/mnt/between && sync) &
writer=$!
try 1 $sealblk attach vm.seal
said 'wants a key'
[ "$($sealblk attach --key-file key vm.seal)" = "$device" ] || fail "another device for the new daemon"
wait $writer
echo 3 >/proc/sys/vm/drop_caches
sha256sum -c sum >/dev/null
umount /mnt
try 0 $sealblk detach vm
nothing_left
$sealblk check --key-file key vm.seal
$sealblk attach --via dm --key-file key vm.seal
mount -t ext4 "$device" /mnt
[ "$(cat /mnt/before /mnt/between)" = "before
between" ] || fail "what was written is not there"
echo '- deaths'

# ---- force -------------------------------------------------------------------------------------
try 0 $sealblk detach --force vm.seal
! pidof sealblkd >/dev/null || fail "a daemon is left"
umount /mnt
nothing_left
$sealblk check --key-file key vm.seal
rmmod dm-sealblk
echo '- force'
echo "figures=$(uptime_s) s of the guest"
