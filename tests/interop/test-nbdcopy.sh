#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# nbdcopy: a disk in, a disk out, over several connections; the same bytes.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need nbdcopy qemu-img jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
uri=$(nbd_uri "$socket")
make_key key
make_base base.vhd fixed 32
"$sealblk" create --size 32M --key-file key image.seal
"$sealblk" create --base base.vhd --key-file key based.seal
start_daemon --socket "$socket" --key-file key image.seal --export based=based.seal

for connections in 1 4; do
	nbdcopy --connections=$connections --flush base.vhd.raw "$uri"
	nbdcopy --connections=$connections "$uri" read.raw
	expect_same base.vhd.raw read.raw
	# Holes of the source have become zeros here, not data.
	expect_equal "$((16 * 2048))" "$("$sealblk" info --json image.seal | jq .sectors.sealed)" sealed
	rm read.raw
done
nbdcopy --request-size=33554432 --requests=2 "$uri" read.raw
expect_same base.vhd.raw read.raw

# Other content over what is there, without a word about holes.
make_random noise.raw $((32 << 20))
nbdcopy --no-extents --allocated --connections=4 noise.raw "$uri"
nbdcopy --no-extents --synchronous "$uri" read.raw
expect_same noise.raw read.raw

# From one export to another: the base shines through until then.
nbdcopy "$(nbd_uri "$socket" based)" read.raw
expect_same base.vhd.raw read.raw
nbdcopy --flush "$uri" "$(nbd_uri "$socket" based)"
nbdcopy "$(nbd_uri "$socket" based)" read.raw
expect_same noise.raw read.raw
stop_daemon

start_daemon --socket "$socket" --key-file key based.seal
nbdcopy "$uri" - | cmp noise.raw -
stop_daemon
