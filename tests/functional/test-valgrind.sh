#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The simulator's engine, and images that crash and recover in it, under valgrind: no
# byte is used that nobody has set, and none outside of what was asked for.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need valgrind
# Valgrind does not know the widest vectors; what chooses the kernels sees that.
check() {
	echo "--- $*"
	valgrind -q --error-exitcode=9 "$BUILD_DIR/tests/$1" "${@:2}" >"$TEST_DIR/output" 2>&1 || {
		cat "$TEST_DIR/output"
		fail "valgrind $*"
	}
	tail -n 1 "$TEST_DIR/output"
}

[[ $BUILD_DIR == *-asan || $BUILD_DIR == *-tsan ]] && skip "a sanitizer and valgrind do not go together"
check sim-simulated_engine
check sim-simulator
nr=3
[[ -z ${SEALBLK_LONG:-} ]] || nr=60
for ((i = 0; i < nr; i++)); do
	check sim-workloads $((RANDOM * 32768 + RANDOM))
done
