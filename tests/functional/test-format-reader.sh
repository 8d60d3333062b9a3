#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# An image as the daemon leaves it, read by the other implementation: the same
# commands go to the daemon and to a plain file, then tests/tools/read_image.py,
# written from docs/format.md alone, must find the plain file's bytes.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io qemu-img python3
[[ -x $sealblk && -x $sealblkd ]] || skip "needs sealblk and sealblkd"
[[ $(ldconfig -p) == *libcrypto.so.3* ]] || skip "needs libcrypto.so.3"

cd "$TEST_DIR"
key=$TEST_DIR/key
socket=$TEST_DIR/s
make_key "$key"

reader() {
	"$SRC_DIR/tests/tools/read_image.py" "$@"
}

serve() {
	start_daemon --socket "$socket" "$@"
}

# both EXPECTED COMMAND...: qemu-io's commands, to the daemon and to the plain file.
both() {
	local expected=$1 command args=()
	shift
	for command; do args+=(-c "$command"); done
	qemu-io -f raw -t writeback -d unmap "${args[@]}" "$(nbd_uri "$socket")" >>qemu-io.log
	qemu-io -f raw -d unmap "${args[@]}" "$expected" >>qemu-io.log
}

# expect_image IMAGE EXPECTED ARGUMENT...: the reader finds the same bytes.
expect_image() {
	local image=$1 expected=$2
	shift 2
	reader "$image" "$@" --read 0 0 >read.out
	expect_same "$expected" read.out
}

# expect_info IMAGE LINE
expect_info() {
	reader "$1" >info.out
	grep -qx -- "$2" info.out || fail "not said of $1: $2"
}

# expect_states IMAGE STATE...: just these states occur, in this order.
expect_states() {
	local image=$1
	shift
	expect_equal "$*" "$(reader "$image" --key-file "$key" --map | cut -d' ' -f3 | xargs)" states
}

# ---- a disk without a base: block borders, trims, overwrites, two sessions ------
# A map block ends at byte 4063232.
truncate -s 65M one.raw
"$sealblk" create --size 65M --key-file "$key" one.seal
expect_states one.seal zero
serve --key-file "$key" one.seal
both one.raw 'write -P 1 0 512' 'write -P 2 4062720 1024' 'write -P 3 8126464 20M' \
	'write -P 4 1536 512' 'discard 4062720 512' 'discard 10M 1M' 'write -z 15M 3M' \
	'write -P 5 16M 64k' 'write -z -u 20M 1M' 'write -P 6 68156928 512'
stop_daemon
expect_image one.seal one.raw --key-file "$key"
expect_info one.seal 'open_state: clean'
expect_info one.seal 'counts: right'
# Without -u, qemu asks for zeros that keep their space: they are sealed like data.
expect_states one.seal sealed zero sealed zero sealed zero sealed zero sealed zero sealed \
	zero sealed

serve --key-file "$key" one.seal
both one.raw 'write -P 7 0 8M' 'write -P 8 4062720 512' 'write -P 9 512 512' 'discard 0 512' \
	'write -P 10 10M 4k' 'write -P 11 64M 1M'
stop_daemon
expect_image one.seal one.raw --key-file "$key"
reader one.seal --key-file "$key" --read 7935 2 | cmp - <(dd if=one.raw bs=512 skip=7935 count=2 status=none)
echo "- a disk without a base"

# ---- a base: raw, with a hole, shorter than the disk; and a VHD -----------------
make_random base.raw 9000000
truncate -s 12M base.raw
cp base.raw over.raw
"$sealblk" create --base base.raw --key-file "$key" over.seal
serve --key-file "$key" over.seal
both over.raw 'write -P 1 4k 512' 'write -P 2 4062720 64k' 'discard 1M 1M' 'discard 11M 512' \
	'write -z -u 3M 512'
stop_daemon
expect_image over.seal over.raw --key-file "$key"
mv base.raw elsewhere.raw
expect_image over.seal over.raw --key-file "$key" --base elsewhere.raw
printf x | dd of=elsewhere.raw bs=1 seek=4096 conv=notrunc status=none
expect_exit 3 reader over.seal --key-file "$key" --base elsewhere.raw --read 0 1
expect_output 'digest differs'

make_base disk.vhd fixed 16
"$sealblk" create --base disk.vhd --key-file "$key" vhd.seal
serve --key-file "$key" vhd.seal
both disk.vhd.raw 'write -P 3 0 1k' 'write -P 4 15M 1M' 'discard 6M 64k'
stop_daemon
expect_image vhd.seal disk.vhd.raw --key-file "$key"
echo "- bases"

# ---- encryption off; a passphrase ------------------------------------------------
truncate -s 8M plain.raw
(umask 077 && printf 'correct horse\nsecond line\n' >phrase)
"$sealblk" create --size 8M --encryption off --passphrase-file phrase plain.seal
serve --passphrase-file phrase plain.seal
both plain.raw 'write -P 1 0 5M' 'discard 2M 1M'
stop_daemon
expect_image plain.seal plain.raw --passphrase-file phrase
expect_info plain.seal 'sectors.plain: 8192'
expect_info plain.seal 'counts: right'
echo "- a plain plane, a passphrase"

# ---- kill -9: what was flushed is in the image, the rest in the dirty file --------
truncate -s 32M kill.raw
"$sealblk" create --size 32M --key-file "$key" kill.seal
serve --key-file "$key" kill.seal
both kill.raw 'write -P 1 0 6M' 'flush'
cp kill.raw flushed.raw
late=(-c 'write -P 2 3499520 1M' -c 'discard 1M 64k' -c 'write -P 3 1049088 512' -c 'write -P 4 0 512')
# A signal to itself: qemu-io ends without the flush that closing sends.
qemu-io -f raw -t writeback -d unmap "${late[@]}" -c 'sigraise 9' "$(nbd_uri "$socket")" >>qemu-io.log || true
kill_daemon
qemu-io -f raw -d unmap "${late[@]}" kill.raw >>qemu-io.log
expect_info kill.seal 'open_state: unclean'
expect_info kill.seal 'counts: none'
name=$(sed -n 's/^uuid: //p' info.out).$(sed -n 's/^open_nonce: //p' info.out).dirty
runtime=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) && runtime=/run/sealblk
expect_image kill.seal kill.raw --key-file "$key" --dirty "$runtime/$name"
# Without it the map is as at the flush; the overwrite of sector 0 has not moved anything.
qemu-io -f raw -c 'write -P 4 0 512' flushed.raw >>qemu-io.log
reader kill.seal --key-file "$key" --read 0 2048 | cmp - <(head -c 1M flushed.raw)
serve --key-file "$key" kill.seal
stop_daemon
expect_image kill.seal kill.raw --key-file "$key"
[[ ! -e $runtime/$name ]] || fail "the dirty file is still there"
echo "- kill -9"

# ---- the reader judges, too ------------------------------------------------------
make_key other
expect_exit 4 reader one.seal --key-file other --read 0 1
cp --sparse=always one.seal bad.seal
printf '\1' | dd of=bad.seal bs=1 seek=$((2097152 + 4096 + 200)) conv=notrunc status=none
expect_exit 3 reader bad.seal --key-file "$key" --read 0 1
expect_output 'slots differ'
cp --sparse=always one.seal bad.seal
printf '\1' | dd of=bad.seal bs=1 seek=300 conv=notrunc status=none
expect_image bad.seal one.raw --key-file "$key"
printf '\1' | dd of=bad.seal bs=1 seek=$((65536 + 300)) conv=notrunc status=none
expect_exit 3 reader bad.seal --key-file "$key"
expect_output 'no whole superblock'
echo "- damage"
