#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# qemu-img: compares a disk with one assembled without sealblk, converts it out
# and in, and finds the holes.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-img qemu-io jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
uri=$(nbd_uri "$socket")
make_key key
make_base base.vhd fixed 16
"$sealblk" create --base base.vhd --size 24M --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal

# Larger than its base: zeros behind.
cp base.vhd.raw expected.raw
truncate -s 24M expected.raw
qemu-img compare -f raw -F raw expected.raw "$uri"

make_random piece $((3 * 512 + 65536))
dd if=piece of=expected.raw bs=512 seek=7935 conv=notrunc status=none
dd if=piece of=expected.raw bs=512 seek=40000 conv=notrunc status=none
dd if=/dev/zero of=expected.raw bs=512 seek=100 count=300 conv=notrunc status=none
nbd_io "$socket" "write -s piece $((7935 * 512)) $(stat -c %s piece)" \
	"write -s piece $((40000 * 512)) $(stat -c %s piece)" "write -z -u $((100 * 512)) $((300 * 512))"
qemu-img compare -f raw -F raw expected.raw "$uri"

# Out: raw, VHD, qcow2.
for format in raw vpc qcow2; do
	options=()
	[[ $format == vpc ]] && options=(-o "subformat=fixed,force_size=on")
	qemu-img convert -f raw -O "$format" "${options[@]}" "$uri" "out.$format"
	qemu-img compare -f raw -F "$format" expected.raw "out.$format"
done

# The map: data from the base and from the image, holes of both.
qemu-img map -f raw --output=json "$uri" >map.json
expect_equal 25165824 "$(jq 'map(.length) | add' map.json)" "length of the map"
expect_equal '51200 153600' "$(jq -r '.[] | select(.zero and .start < 8388608) | "\(.start) \(.length)"' \
	map.json)" "the zeroed range"
data=$(jq 'map(select(.data) | .length) | add' map.json)
((data == 8388608 - 153600 + $(stat -c %s piece))) || fail "$data bytes of data"

# In: over all that is there, and a backing file of an overlay.
qemu-img convert -n -f qcow2 -O raw -W -m 8 out.qcow2 "$uri"
qemu-img compare -f raw -F raw expected.raw "$uri"
qemu-img create -q -f qcow2 -F raw -b "$uri" overlay.qcow2
qemu-io -c 'write -P 1 1M 64k' overlay.qcow2 >/dev/null
qemu-img commit -q overlay.qcow2
nbd_io "$socket" 'read -P 1 1M 64k'
qemu-img bench -q -f raw -c 500 -d 16 -s 4096 -w --flush-interval 50 "$uri" >/dev/null
stop_daemon
