#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs fuzzers, some of them side by side, and ends with the line
# "fuzz: N targets, N runs, N failures". Each takes up the inputs that earlier runs
# found worth keeping.
#
#   tests/fuzz/run.sh BUILD SECONDS JOBS FUZZER...
#
# What a fuzzer prints is kept in BUILD/NAME.log, and the input that it failed with
# beside it.
set -euo pipefail

build=$1 seconds=$2 jobs=$3
shift 3
seeds_dir=$(cd "$(dirname "$0")" && pwd)/corpus
total=0 failed=0
declare -A name_of=() # by the process id of a running fuzzer

start() {
	local name found seeds=()
	name=$(basename "$1")
	found=$build/corpus/$name
	mkdir -p "$found"
	[[ -d $seeds_dir/$name ]] && seeds=("$seeds_dir/$name")
	"$1" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$build/$name-" \
		"$found" "${seeds[@]}" >"$build/$name.log" 2>&1 &
	name_of[$!]=$name
}

reap() {
	local pid status=0 name runs
	wait -n -p pid "${!name_of[@]}" || status=$?
	name=${name_of[$pid]}
	unset "name_of[$pid]"
	if ((status)); then
		cat "$build/$name.log"
		echo "fuzz: $name: FAILED, exit $status"
		failed=$((failed + 1))
		return
	fi
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
	echo "fuzz: $name: $runs runs in $seconds s"
	total=$((total + runs))
}

# By signal, fuzzers end with us.
trap 'kill "${!name_of[@]}" 2>/dev/null' EXIT
for fuzzer; do
	((${#name_of[@]} < jobs)) || reap
	start "$fuzzer"
done
while ((${#name_of[@]} > 0)); do
	reap
done
trap - EXIT
echo "fuzz: $# targets, $total runs, $failed failures"
((failed == 0))
