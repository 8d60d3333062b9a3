#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Every kind of VHD as a base: a dynamic one that qemu-img wrote, chains of
# differencing ones, and those that lie about themselves.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need nbdcopy qemu-img
make_layer=$BUILD_DIR/tests/mkvhdlayer
cd "$TEST_DIR"
make_key key

# serve_and_compare BASE RAW: a new image over BASE reads as RAW, and BASE stays as it is.
serve_and_compare() {
	rm -f vm.seal copy.raw
	sha256sum ./*.vhd >vhds.sum
	"$sealblk" create --base "$1" --key-file key vm.seal
	start_daemon --socket "$TEST_DIR/s" --key-file key vm.seal
	nbdcopy "$(nbd_uri s)" copy.raw
	expect_same "$2" copy.raw
	nbd_io s 'write -P 9 64k 4k' flush 'read -P 9 64k 4k'
	stop_daemon
	sha256sum -c --quiet vhds.sum
}

echo "--- a dynamic VHD by qemu-img"
make_random part 3M
truncate -s 64M by-qemu.raw
dd if=part of=by-qemu.raw bs=1M seek=5 conv=notrunc status=none
dd if=part of=by-qemu.raw bs=512 seek=77777 conv=notrunc status=none
qemu-img convert -O vpc -o subformat=dynamic,force_size=on by-qemu.raw by-qemu.vhd
serve_and_compare by-qemu.vhd by-qemu.raw
rm by-qemu.*

echo "--- chains"
mkdir sub
"$make_layer" --size $((24 << 20)) --seed 1 bottom.vhd disk.raw
cp disk.raw bottom.raw
serve_and_compare bottom.vhd bottom.raw
"$make_layer" --parent bottom.vhd --seed 2 middle.vhd disk.raw
"$make_layer" --parent middle.vhd --seed 3 --absolute top.vhd disk.raw
serve_and_compare top.vhd disk.raw

echo "--- the footer's copy counts when the last one is bad"
"$make_layer" --size $((8 << 20)) --seed 4 --lie footer copied.vhd copied.raw
serve_and_compare copied.vhd copied.raw

echo "--- a parent that changed, or is gone, at the next start"
"$sealblk" create --base top.vhd --key-file key chain.seal
cp -p bottom.vhd saved
flip_byte bottom.vhd 5000
expect_exit 3 "$sealblkd" --socket s --key-file key chain.seal
cp -p saved bottom.vhd
mv middle.vhd elsewhere
expect_exit 3 "$sealblkd" --socket s --key-file key chain.seal
mv elsewhere middle.vhd

echo "--- lies"
for lie in header block-size geometry bat-short bat-long bat-outside bat-on-header \
	block-on-header block-on-bat block-on-footer block-outside blocks-overlap; do
	"$make_layer" --size $((8 << 20)) --seed 5 --lie $lie lie.vhd lie.raw
	expect_exit 3 "$sealblk" create --base lie.vhd --key-file key lie.seal
	[[ ! -e lie.seal ]] || fail "$lie: an image was left behind"
	rm lie.vhd
done
for lie in parent-id parent-time size; do
	"$make_layer" --parent bottom.vhd --seed 5 --lie $lie lie.vhd lie.raw
	expect_exit 3 "$sealblk" create --base lie.vhd --key-file key lie.seal
	rm lie.vhd
done

echo "--- a chain of a hundred"
"$make_layer" --size $((1 << 20)) --seed 1 link0.vhd link.raw
for ((i = 1; i < 100; i++)); do
	"$make_layer" --parent link$((i - 1)).vhd --seed $i link$i.vhd link.raw
done
expect_exit 3 "$sealblk" create --base link99.vhd --key-file key lie.seal
