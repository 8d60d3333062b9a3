#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# How much of the parsers, and of what recovers an image, the unit tests, the simulator
# and the fuzzers' inputs go through. Fails below 90% of the lines or branches of all of it.
#
#   tests/coverage.sh BUILD      of a build with --coverage
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1
parsers=(
	'daemon/nbd/.*' 'daemon/vhd/.*'
	'daemon/image/(superblock|names|recover|base_identity_codec|layer|layer_locate|vhdx_file)\.c'
	'daemon/map/(block|dirty_file|bitmap)\.c' 'daemon/keys/keyring\.c'
	'daemon/control/(policy|size_text)\.c' 'daemon/net/tls_psk\.c'
)

find "$build" -name '*.gcda' -delete
"$build/tests/unit" >/dev/null 2>&1
"$build/tests/sim-repair" >/dev/null
for ((seed = 1; seed <= 40; seed++)); do
	"$build/tests/sim-workloads" $seed >/dev/null
done
for replay in "$build"/tests/replay_*; do
	name=fuzz_${replay##*/replay_}
	[[ ! -d tests/fuzz/corpus/$name ]] || "$replay" "tests/fuzz/corpus/$name"/* >/dev/null
done
filters=()
for pattern in "${parsers[@]}"; do
	filters+=(--filter "$pattern")
done
# An assert that does not fail is a branch that nobody can take.
gcovr --root . --object-directory "$build" "${filters[@]}" --exclude-throw-branches \
	--exclude-lines-by-pattern '.*assert\(.*' --exclude-branches-by-pattern '.*assert\(.*' \
	--print-summary --txt "$build/coverage.txt" --fail-under-line 90 --fail-under-branch 90
