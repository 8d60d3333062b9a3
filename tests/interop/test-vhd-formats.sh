#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What other programs make of the VHDs that we write, and we of theirs.
. "$(dirname "$0")/../lib.sh"
need qemu-img python3
cd "$TEST_DIR"
geometry=$SRC_DIR/tests/tools/vhd_geometry.py
SEED=${SEED:-$RANDOM}
echo "SEED=$SEED"

# The geometry of 10,000 disks, by the specification's algorithm written down once more.
"$geometry" sizes 10000 "$SEED" >sizes.txt
expect_equal 10000 "$(wc -l <sizes.txt)" "sizes tried"
"$geometry" expect <sizes.txt >expected
"$BUILD_DIR/tests/chs" <sizes.txt >ours
expect_same expected ours

# ... and of some as qemu-img writes it. It rounds each disk up to a geometry, up to the largest one.
awk -v seed="$SEED" 'BEGIN { srand(seed) } $1 < 267000000 && rand() < 0.007' sizes.txt >some
number=100
while read -r sectors; do
	qemu-img create -q -f vpc -o subformat=fixed "qemu-$((number += 1)).vhd" $((sectors * 512))
done <some
((number > 130)) || fail "too few sizes were tried"
"$geometry" footer qemu-*.vhd >theirs
"$geometry" round <some | "$BUILD_DIR/tests/chs" >ours
expect_same theirs ours
