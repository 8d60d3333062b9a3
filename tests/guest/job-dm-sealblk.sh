#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-dm-sealblk.sh: the device as its users see it.
set -e
: "${seed:?}" "${swaps:?}"
export XDG_RUNTIME_DIR=/run
dmsetup=/programs/dmsetup
small=65536 large=$((320 * 2048))	# sectors; XFS wants 300 MiB

say() {
	echo "$(cut -d' ' -f1 /proc/uptime): $*"
}

# Whatever happened so far, the kernel's log tells of no trouble.
log_is_clean() {
	if dmesg | grep -E 'WARNING|BUG|Oops|blocked for more|lockup|refcount|general protection|stall'; then
		echo "the kernel's log has that, $1"
		exit 1
	fi
	say "$1: the log is clean"
}

# must_fail COMMAND...
must_fail() {
	if "$@" >/run/output 2>&1; then
		echo "succeeded: $*"
		exit 1
	fi
}

# serve LOG OPTION...: the daemon, ready; sets daemon.
serve() {
	log=$1
	shift
	: >"$log"
	/programs/sealblkd --key-file /key "$@" >>"$log" 2>&1 &
	daemon=$!
	until grep -q ready "$log"; do
		[ -d /proc/$daemon ] || { cat "$log"; return 1; }
		usleep 50000
	done
}

stop() {
	kill "$daemon"
	wait "$daemon"
}

serve_both() {
	serve /run/log --dm a --dm b=large --export large=/large.seal /small.seal
}

# make NAME SECTORS OPTION...: the device, without a daemon. Udev, were there one, would read it
# when it is resumed.
make() {
	name=$1 sectors=$2
	shift 2
	$dmsetup create "$name" --notable
	$dmsetup reload "$name" --table "0 $sectors sealblk $name $*"
}

status() {
	$dmsetup status "$1" | cut -d' ' -f4-
}

# ---- module, tables, messages ---------------------------------------------------
(umask 077 && head -c 64 /dev/urandom >/key)
/programs/sealblk create --size 32M --key-file /key /small.seal
/programs/sealblk create --size 320M --key-file /key /large.seal
for i in $(seq 100); do
	insmod /job/dm-sealblk.ko
	rmmod dm_sealblk
done
log_is_clean "loaded and unloaded 100 times"
insmod /job/dm-sealblk.ko
while read -r arguments; do
	must_fail $dmsetup create bad --table "0 $small sealblk $arguments"
	$dmsetup remove bad 2>/dev/null || true
done <<END

.a
a/b
a queue_depth
a queue_depth 0
a queue_depth 257
a max_io_kib 5
a queue_depth 256 max_io_kib 4096
a timeout soon
a colour blue
END
make a $small queue_depth 32 max_io_kib 128
make b $large
must_fail $dmsetup create c --table "0 $small sealblk a queue_depth 32 max_io_kib 128"
$dmsetup remove c 2>/dev/null || true
must_fail $dmsetup reload a --table "0 $small sealblk a queue_depth 64 max_io_kib 128"
must_fail $dmsetup reload a --table "0 $((small / 2)) sealblk a queue_depth 32 max_io_kib 128"
must_fail rmmod dm_sealblk
[ "$(stat -c %a/%u /dev/sealblk/a)" = 600/0 ]

# ---- daemons that do not fit ----------------------------------------------------
must_fail /programs/sealblkd --key-file /key --dm a /large.seal
grep -q "device a: its table has $small sectors, and the image $large" /run/output
must_fail /programs/sealblkd --key-file /key --dm a --read-only /small.seal
grep -q "device a: it is writable, and the image is not" /run/output
must_fail /programs/sealblkd --key-file /key --dm z /small.seal
grep -q "device z: /dev/sealblk/z is not there" /run/output
must_fail /programs/sealblkd --key-file /key --dm a=none /small.seal
grep -q 'device a: there is no export "none"' /run/output
serve_both
must_fail /programs/sealblkd --key-file /key --dm a /other.seal
cp /small.seal /other.seal
must_fail /programs/sealblkd --key-file /key --accept-loss --dm a /other.seal
$dmsetup resume a
$dmsetup resume b
must_fail $dmsetup message a 0 timeout
must_fail $dmsetup message a 0 timeout never
must_fail $dmsetup message a 0 fly 1
[ "$($dmsetup table a)" = "0 $small sealblk a queue_depth 32 max_io_kib 128 timeout 0" ]
(
	cd /sys/block/dm-0/queue
	for limit in logical_block_size=512 physical_block_size=4096 optimal_io_size=4096 max_hw_sectors_kb=128 \
		discard_granularity=4096 fua=1; do
		[ "$(cat "${limit%=*}")" = "${limit#*=}" ] || { echo "not $limit"; exit 1; }
	done
)
log_is_clean "tables"

# ---- data -----------------------------------------------------------------------
verify() {
	/programs/fio --name=verify --filename=/dev/dm-0 --ioengine=libaio --direct=1 --iodepth=16 \
		--verify=crc32c --verify_fatal=1 --randseed="$seed" "$@" >/run/output || { cat /run/output; exit 1; }
	say "fio $*"
}
verify --rw=randrw --bsrange=512-256k --size=16M
verify --rw=randwrite --bs=4k --size=4M --sync=dsync
verify --rw=randwrite --bs=4k --size=4M --fsync=8
# Whoever polls is served as others are.
verify --rw=randrw --bs=4k --size=2M --ioengine=pvsync2 --hipri=1
/programs/fio --name=trim --filename=/dev/dm-0 --ioengine=sync --direct=1 --rw=randtrimwrite \
	--bs=4k --size=4M --randseed="$seed" >/run/output || { cat /run/output; exit 1; }
dd if=/dev/urandom of=/dev/dm-0 bs=1M count=4 oflag=direct 2>/dev/null
/programs/blkdiscard -o 1048576 -l 1048576 /dev/dm-0
/programs/fallocate -z -o 2097152 -l 1048576 /dev/dm-0
dd if=/dev/dm-0 bs=1M skip=1 count=2 iflag=direct 2>/dev/null | cmp - /dev/zero 2>&1 | grep -q EOF
log_is_clean "data"

# files DEVICE TYPE: mount, fill, trim, mount again and look.
files() {
	mount -t "$2" "$1" /mnt
	for i in $(seq 20); do
		head -c $((i * 10000)) /dev/urandom >"/mnt/$i"
	done
	(cd /mnt && sha256sum [0-9]* >sums)
	rm /mnt/20
	fstrim /mnt
	umount /mnt
	mount -t "$2" "$1" /mnt
	(cd /mnt && grep -v ' 20$' sums | sha256sum -c >/dev/null)
	umount /mnt
}
/programs/mke2fs -q -t ext4 /dev/dm-0
files /dev/dm-0 ext4
/programs/e2fsck -fn /dev/dm-0 >/dev/null
say ext4
/programs/mkfs.xfs -q /dev/dm-1
files /dev/dm-1 xfs
/programs/xfs_repair -n /dev/dm-1 >/dev/null 2>&1
log_is_clean "ext4 and XFS"

# ---- other targets on top, keys that are taken away -------------------------------
$dmsetup create top --table "0 8192 linear /dev/dm-1 2048"
dd if=/dev/urandom of=/data bs=1M count=1 2>/dev/null
dd if=/data of=/dev/dm-2 bs=256k oflag=direct conv=fsync 2>/dev/null
dd if=/dev/dm-1 bs=1M skip=1 count=1 iflag=direct 2>/dev/null | cmp - /data
/programs/sealblk key revoke /large.seal
must_fail dd if=/dev/dm-2 of=/dev/null bs=4k count=1 iflag=direct
/programs/sealblk key restore --key-file /key /large.seal
dd if=/dev/dm-2 bs=1M count=1 iflag=direct 2>/dev/null | cmp - /data
$dmsetup remove top

# ---- table swaps and a new daemon under load ------------------------------------
# load_starts: on a; its verdict comes from load_ends.
load_starts() {
	rm -f /run/stop
	/programs/powercut device /dev/dm-0 "$seed" /run/stop &
	load=$!
}
load_ends() {
	touch /run/stop
	wait $load
}

/programs/blkdiscard -f /dev/dm-0
load_starts
for i in $(seq "$swaps"); do
	usleep 200000
	flags=
	[ $((i % 3)) != 1 ] || flags=--noflush
	[ $((i % 3)) != 2 ] || flags=--nolockfs
	$dmsetup suspend $flags a
	$dmsetup reload a --table "0 $small sealblk a max_io_kib 128 queue_depth 32"
	$dmsetup resume a
done
stop
grep -v listening /run/log
serve_both
load_ends
log_is_clean "$swaps table swaps, and another daemon"

# ---- no daemon ------------------------------------------------------------------
stop
case "$(status a)" in "a waiting busy 0 waiting 0 "*" daemons 2 timeout 0") ;; *) status a; exit 1 ;; esac
head -c 1048576 /dev/urandom >/data
dd if=/data of=/dev/dm-0 bs=64k oflag=direct 2>/run/dd &
writer=$!
usleep 500000
case "$(status a)" in "a waiting busy 0 waiting "[1-9]*) ;; *) status a; exit 1 ;; esac
$dmsetup suspend --noflush a
case "$(status a)" in "a waiting busy 0 waiting 0 "*) ;; *) status a; exit 1 ;; esac
$dmsetup resume a
serve_both
wait $writer
cmp /data /dev/dm-0 2>&1 | grep -q "EOF on /data"
stop
$dmsetup message a 0 timeout 1
must_fail dd if=/dev/dm-0 of=/dev/null bs=4k count=1 iflag=direct
case "$(status a)" in "a failing "*"timeout 1") ;; *) status a; exit 1 ;; esac
serve_both
dd if=/dev/dm-0 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null
$dmsetup message a 0 timeout 0
log_is_clean "without a daemon"

# ---- removal --------------------------------------------------------------------
/programs/blkdiscard -f /dev/dm-0
load_starts >/run/removed 2>&1
usleep 500000
must_fail $dmsetup remove a
$dmsetup remove --force a 2>/dev/null || true
load_ends >/dev/null || true
until $dmsetup remove a 2>/dev/null || ! $dmsetup info a >/dev/null 2>&1; do
	usleep 100000
done
for i in $(seq 50); do
	! grep -q "device a: was removed" /run/log || break
	usleep 100000
done
grep "device a: was removed" /run/log
dd if=/dev/dm-1 of=/dev/null bs=1M count=1 iflag=direct 2>/dev/null
$dmsetup remove b
stop
[ ! -e /dev/sealblk ] || rmdir /dev/sealblk

# ---- read only ------------------------------------------------------------------
$dmsetup create a --readonly --notable
$dmsetup reload a --readonly --table "0 $small sealblk a"
serve /run/log --read-only --dm a /small.seal
$dmsetup resume a
dd if=/dev/dm-0 of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null
must_fail dd if=/data of=/dev/dm-0 bs=4k count=1
$dmsetup remove a
stop
rmmod dm_sealblk
log_is_clean "removal"
