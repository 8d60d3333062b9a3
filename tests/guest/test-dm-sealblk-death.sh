#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# dm-sealblk, whose daemon dies under load, by SIGKILL or SIGSEGV, and is started again: the
# block device shows a delay and not one error, and every acknowledged write is there.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/shim.sh"

cd "$TEST_DIR"
rounds=6
[[ ${SEALBLK_LONG:-} ]] && rounds=60
seed=${SEED:-$RANDOM}
echo "SEED=$seed"
guest_programs=("$sealblk" "$sealblkd" "$BUILD_DIR/tests/powercut")
need_shim
guest_kernel=slub_debug=FZP	# who uses freed memory, or more than he has, is reported
run_job job-reconnect.sh $((90 + 10 * rounds)) "way=dm rounds=$rounds seed=$seed" -m 512
expect_equal 0 "$(job_value "$guest_log" wrong)" "sectors that read wrong"
expect_equal 0 "$(job_value "$guest_log" failed)" "requests that failed"
grep -q "sealblk vm serving .* daemons $((rounds + 1)) " <(tr -d '\r' <"$guest_log") ||
	fail "not every daemon has served"
echo "figures: $rounds deaths, $(job_value "$guest_log" changes) changes, 0 lost"
