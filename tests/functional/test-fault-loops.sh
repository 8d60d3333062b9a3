#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The n-th allocation, read, write, fsync, fallocate or open of sealblk and
# sealblkd fails, once and from then on: no crash, no hang, one clear line, the
# right exit status, and an image that opens and reads right afterwards. And the
# daemon's threads allocate nothing under load. SEED=N repeats a choice;
# SEALBLK_LONG=1 tries every n, or as many as fit 5 minutes.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
[[ -e $BUILD_DIR/tests/fault_shim.so ]] || skip "needs make tests"
grep -q -- -fsanitize "$BUILD_DIR/flags" && skip "a sanitizer's allocator stands in the way"
cd "$TEST_DIR"
loop=$SRC_DIR/tests/tools/fault_loop.py
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"

mkdir quiet faults
(cd quiet && "$loop" allocations "$BUILD_DIR")
limit=(--seconds 40)
[[ ${SEALBLK_LONG:-} ]] && limit=(--seconds 300)
(cd faults && "$loop" loop --seed "$seed" "${limit[@]}" "$BUILD_DIR")
