#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The two promises of an overlay: the base is never written, and what was
# written is nowhere in the image in the clear.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io qemu-img nbdcopy
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_base base.vhd fixed 16
before=$(digest base.vhd)
chmod 444 base.vhd

"$sealblk" create --base base.vhd --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal

# What nobody has written reads as the base does.
nbdcopy "$(nbd_uri "$socket")" read.raw
expect_same base.vhd.raw read.raw

# A line that the noise of a cipher does not hold by chance, over data and over the hole.
secret='the written secret 3b1f0c'
yes "$secret" | head -c 1M >pattern || true
cp base.vhd.raw expected.raw
for at in 0 1052672 $((4 * 1048576 - 512)) $((12 * 1048576)); do
	nbd_io "$socket" "write -s pattern $at 1M"
	dd if=pattern of=expected.raw bs=512 seek=$((at / 512)) conv=notrunc status=none
done
nbd_io "$socket" 'discard 6M 512' 'write -z 7M 64k' 'flush'
qemu-io -f raw -c 'write -z 6M 512' -c 'write -z 7M 64k' expected.raw >/dev/null
nbdcopy "$(nbd_uri "$socket")" read.raw
expect_same expected.raw read.raw

grep -aq "$secret" read.raw || fail "the pattern would not be found"
for when in served closed; do
	[[ $when == served ]] || stop_daemon
	grep -aq "$secret" image.seal && fail "the pattern is in the image ($when)"
	expect_equal "$before" "$(digest base.vhd)" "digest of the base ($when)"
done

# Nor did the base's own data move into the image.
head -c 64 base.vhd.raw >piece
"$python" - image.seal piece <<'PY' || fail "the base's data is in the image"
import sys
image, piece = (open(name, "rb").read() for name in sys.argv[1:])
sys.exit(piece in image)
PY

start_daemon --socket "$socket" --key-file key image.seal
nbdcopy "$(nbd_uri "$socket")" read.raw
expect_same expected.raw read.raw
stop_daemon
expect_equal "$before" "$(digest base.vhd)" "digest of the base at the end"
