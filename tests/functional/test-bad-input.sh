#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What sealblkd may find instead of a good image: the right exit code, one clear
# line, and not a byte changed. And a mistaken command line.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io qemu-img
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_key other-key

# A disk with two map blocks; its map begins at 2 MiB, slots side by side.
"$sealblk" create --size 5M --key-file key good.seal
start_daemon --socket "$socket" --key-file key good.seal
nbd_io "$socket" 'write -P 1 0 64k' 'write -P 2 4M 64k'
stop_daemon

# refuse EXIT PATTERN ARGUMENT...: the last argument is an image, left as it is.
refuse() {
	local status=$1 pattern=$2 before
	local image=${*: -1}
	shift 2
	[[ ! -f $image ]] || before=$(digest "$image")
	expect_exit "$status" timeout 20 "$sealblkd" --socket "$socket" "$@"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "^sealblkd: error: .*$pattern"
	[[ ! -f $image ]] || expect_equal "$before" "$(digest "$image")" "digest of $image"
	[[ ! -e $socket ]] || fail "a socket was left"
}

# serve_damaged WARNING: damaged.seal is served, and says so; stop it yourself.
serve_damaged() {
	start_daemon --socket "$socket" --key-file key damaged.seal
	grep -Eq "warning: .*$1" "$daemon_log" || fail "no warning: $1"
}

damaged_copy() {
	cp --sparse=always good.seal damaged.seal
	flip_byte damaged.seal "$@"
}

# ---- usage: 2 ------------------------------------------------------------------------
usage() {
	local pattern=$1
	shift
	expect_exit 2 timeout 20 "$sealblkd" "$@"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "$pattern"
}
usage 'unknown option --frob' --frob --socket s --key-file key good.seal
usage 'unknown option -x' -x --socket s --key-file key good.seal
usage 'nowhere to listen' --key-file key good.seal
usage 'no image' --socket s --key-file key
usage 'no key' --socket s good.seal
usage 'only one image' --socket s --key-file key good.seal good.seal
usage 'two exports' --socket s --key-file key --export a=good.seal --export a=good.seal
usage 'NAME=IMAGE' --socket s --key-file key --export good.seal
usage '--dm ../null: must be' --dm ../null --key-file key good.seal
usage '--dm =x: must be' --dm =x --key-file key good.seal
usage '--dm .: must be' --dm . --key-file key good.seal
usage "--dm $(printf %064d 1): must be" --dm "$(printf %064d 1)" --key-file key good.seal
usage '--dm a: given twice' --dm a --dm a=x --key-file key good.seal
usage 'not with --io-engine libaio' --dm a --io-engine libaio --key-file key good.seal
usage '--workers 0' --workers 0 --socket s --key-file key good.seal
usage '--workers 65' --workers 65 --socket s --key-file key good.seal
usage '--workers 2x' --workers 2x --socket s --key-file key good.seal
usage '--xts rot13' --xts rot13 --socket s --key-file key good.seal
usage '--io-engine magic' --io-engine magic --socket s --key-file key good.seal
usage '--socket needs a value' good.seal --key-file key --socket
echo '- usage'

# ---- keys ----------------------------------------------------------------------------
head -c 31 key >short-key
head -c 4097 /dev/zero >long-key
: >empty
refuse 4 'none of the keys' --key-file other-key good.seal
refuse 4 'none of the keys' --passphrase-file key good.seal
refuse 1 'key file none: .*No such file' --key-file none good.seal
refuse 1 'key file short-key: .*32 to 4096' --key-file short-key good.seal
refuse 1 'key file long-key: .*32 to 4096' --key-file long-key good.seal
refuse 1 'passphrase file empty: ' --passphrase-file empty good.seal
refuse 1 'key file \.: ' --key-file . good.seal
echo '- keys'

# ---- not an image --------------------------------------------------------------------
make_random junk 2097152
for size in 0 4096 1048575; do
	head -c "$size" good.seal >short.seal
	refuse 3 'too short' --key-file key short.seal
done
refuse 3 'not a sealblk image' --key-file key junk
refuse 1 'none: .*No such file' --key-file key none
refuse 1 '/dev/null' --key-file key /dev/null
refuse 1 '\.: .*directory' --key-file key .
for size in 1052672 $((2 * 1048576)) $(($(stat -c %s good.seal) - 1)); do
	head -c "$size" good.seal >short.seal
	refuse 3 "cut short: $size bytes of" --key-file key short.seal
done
echo '- not an image'

# ---- a byte flipped in what is there twice: one copy is survived, both are not ---------
# Superblock (in its UUID, policy and MAC), keyring (a slot, its MAC), names.
for places in '40 65576' '176 65712' '4060 69596' '131300 196836' '131120 196656' '262180 327716'; do
	read -r first second <<<"$places"
	for at in "$first" "$second"; do
		damaged_copy "$at"
		serve_damaged 'damaged metadata copies'
		nbd_io "$socket" 'read -P 1 0 64k' 'read -P 2 4M 64k'
		stop_daemon
	done
	damaged_copy "$first" "$second"
	refuse 3 'damaged' --key-file key damaged.seal
done
# The bitmap's two slots are equal in an image that was closed.
for places in 1048776 1052872 '1048776 1052872'; do
	# shellcheck disable=SC2086  # one or two offsets
	damaged_copy $places
	refuse 3 'bitmap is damaged' --key-file key damaged.seal
done
echo '- superblock, keyring, names, bitmap'

# ---- a map block: its sectors answer EIO, the others do not ----------------------------
for at in 2097352 2101448; do
	damaged_copy "$at"
	start_daemon --socket "$socket" --key-file key damaged.seal
	nbd_io "$socket" 'read -P 2 4M 64k' 'write -P 3 4608k 64k' 'read -P 3 4608k 64k'
	expect_exit 1 qemu-io -f raw -c 'read 0 512' "$(nbd_uri "$socket")"
	expect_output 'read failed: Input/output error'
	expect_exit 1 qemu-io -f raw -c 'write 1M 512' "$(nbd_uri "$socket")"
	expect_output 'write failed: Input/output error'
	nbd_io "$socket" 'read -P 2 4M 64k' flush
	stop_daemon
done
echo '- map'
