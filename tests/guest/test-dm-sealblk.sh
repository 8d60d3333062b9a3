#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# dm-sealblk as its users see it: tables, messages, limits, data of all kinds, file systems,
# tables swapped under load, no daemon for a while, removal, the module loaded 100 times.
# After each part the kernel's log is clean.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/shim.sh"

need fio mkfs.xfs xfs_repair blkdiscard fallocate
cd "$TEST_DIR"
swaps=9
[[ ${SEALBLK_LONG:-} ]] && swaps=120
seed=${SEED:-$RANDOM}
echo "SEED=$seed"
guest_programs=("$sealblk" "$sealblkd" "$BUILD_DIR/tests/powercut" fio mkfs.xfs xfs_repair blkdiscard fallocate)
need_shim
run_job job-dm-sealblk.sh $((150 + 2 * swaps)) "seed=$seed swaps=$swaps" -m 1536 -smp 2
expect_equal 0 "$(job_value "$guest_log" wrong)" "sectors that read wrong"
expect_equal 0 "$(job_value "$guest_log" failed)" "requests that failed"
echo "figures: 100 loads of the module, $swaps tables swapped under load," \
	"$(job_value "$guest_log" changes) changes, 0 lost"
