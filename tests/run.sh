#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs test programs and scripts, one line each, and ends with the line
# "N passed, N failed, N skipped".
#
#   tests/run.sh [--build DIR] [--jobs N] [--timeout SECONDS] [--engine ENGINE] TEST...
#
# --engine: sealblkd is run with --io-engine ENGINE by the tests that follow it on the
# command line, which may name a test again.
#
# A test passes by exit 0, is skipped by exit 77 (the last line it prints says
# why), and fails by anything else or by taking too long. A Criterion program
# counts as the tests inside it. The environment of a test:
#
#   SRC_DIR, BUILD_DIR   absolute paths
#   TEST_DIR             a folder of its own, removed afterwards; its path is
#                        short, so that a unix socket in it can be named
#   XDG_RUNTIME_DIR      inside TEST_DIR
#   SEALBLK_LONG         1 when there is time for the long version (check-long)
#
# What a test prints after "figures: " is shown beside its name.
#
# The whole output of a test is kept in BUILD/tests/log/NAME.log.
set -uo pipefail

src_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$src_dir/build
jobs=1
timeout_s=300
[[ ${SEALBLK_LONG:-} ]] && timeout_s=7200
engine=
tests=()

while (($#)); do
	case $1 in
	--build) build_dir=$(realpath -m "$2"); shift 2 ;;
	--jobs) jobs=$2; shift 2 ;;
	--timeout) timeout_s=$2; shift 2 ;;
	--engine) engine=$2; shift 2 ;;
	-*) echo "run.sh: unknown option $1" >&2; exit 2 ;;
	*) tests+=("$engine:$1"); shift ;;
	esac
done

log_dir=$build_dir/tests/log
mkdir -p "$log_dir"

passed=0 failed=0 skipped=0
# By the process id of a running test.
declare -A name_of=() dir_of=() log_of=() start_of=() limit_of=()

name_of_test() {
	local name
	name=$(basename "$1" .sh)
	case $1 in
	*/interop/*) name=interop-${name#test-} ;;
	*/guest/*) name=guest-${name#test-} ;;
	*/functional/*) name=${name#test-} ;;
	*/sim/*) name=sim-$name ;;
	esac
	echo "$name"
}

# build_with ENGINE: a folder like the build's, whose daemon uses that engine.
build_with() {
	local dir=$build_dir/tests/engine-$1
	if [[ ! -d $dir ]]; then
		mkdir "$dir"
		find "$build_dir" -mindepth 1 -maxdepth 1 ! -name sealblkd -exec ln -s {} "$dir" \;
		printf '#!/bin/sh\nexec %q --io-engine %q "$@"\n' "$build_dir/sealblkd" "$1" >"$dir/sealblkd"
		chmod +x "$dir/sealblkd"
	fi
	echo "$dir"
}

start() {
	local name dir log path engine=${1%%:*} build=$build_dir limit=$timeout_s
	path=$(realpath "${1#*:}")
	name=$(name_of_test "$path")
	[[ $engine ]] && name+=-$engine build=$(build_with "$engine")
	# Machines without KVM are slow, and there are many mutants.
	[[ $name == guest-* || $name == sim-* ]] && limit=$((3 * timeout_s))
	log=$log_dir/$name.log
	dir=$(mktemp -d "${TMPDIR:-/tmp}/sb.XXXXXX")
	# The longest socket below still has to fit the 108 bytes of sun_path.
	((${#dir} <= 60)) || { rmdir "$dir"; dir=$(mktemp -d /tmp/sb.XXXXXX); }
	mkdir -m 700 "$dir/run"

	SRC_DIR=$src_dir BUILD_DIR=$build TEST_DIR=$dir XDG_RUNTIME_DIR=$dir/run \
		timeout --kill-after=10 "$limit" "$path" >"$log" 2>&1 </dev/null &
	name_of[$!]=$name dir_of[$!]=$dir log_of[$!]=$log start_of[$!]=$SECONDS limit_of[$!]=$limit
}

# Criterion's last line, as numbers: tested, passing, failing, crashing.
criterion_counts() {
	sed -nE 's/.*Tested: ([0-9]+).*Passing: ([0-9]+).*Failing: ([0-9]+).*Crashing: ([0-9]+).*/\1 \2 \3 \4/p' \
		"$1" | tail -n 1
}

report() {
	local pid=$1 status=$2
	local name=${name_of[$pid]} log=${log_of[$pid]}
	local seconds=$((SECONDS - start_of[$pid]))
	local tested=1 good=1 bad=1 crashed=0 inside="" figures

	if grep -q 'Synthesis: Tested:' "$log"; then
		read -r tested good bad crashed <<<"$(criterion_counts "$log")"
		bad=$((bad + crashed)) inside=", $tested tests"
		((status == 0 || bad > 0)) || bad=1
	fi
	case $status in
	0)
		passed=$((passed + good))
		figures=$(sed -n 's/^figures: //p' "$log" | tail -n 1)
		echo "PASS $name ($seconds s$inside)${figures:+: $figures}"
		;;
	77)
		skipped=$((skipped + 1))
		echo "SKIP $name ($seconds s): $(tail -n 1 "$log")"
		;;
	*)
		failed=$((failed + bad))
		[[ $inside ]] && passed=$((passed + good))
		((seconds >= limit_of[$pid])) && inside=", stopped after ${limit_of[$pid]} s"
		echo "FAIL $name ($seconds s$inside), exit $status; ${log#"$src_dir"/}:"
		sed 's/^/    /' "$log"
		;;
	esac
	rm -rf "${dir_of[$pid]}"
	unset "name_of[$pid]" "dir_of[$pid]" "log_of[$pid]" "start_of[$pid]" "limit_of[$pid]"
}

# timeout(1) passes the signal on to the process group of its test.
stop() {
	trap - EXIT INT TERM
	local pid
	for pid in "${!name_of[@]}"; do
		kill -TERM "$pid" 2>/dev/null
	done
	for pid in "${!name_of[@]}"; do
		wait "$pid" 2>/dev/null
		rm -rf "${dir_of[$pid]}"
	done
	exit 130
}
trap stop INT TERM

finish_one() {
	local pid status
	wait -n -p pid
	status=$?
	report "$pid" "$status"
}

for test in ${tests+"${tests[@]}"}; do
	((${#name_of[@]} < jobs)) || finish_one
	start "$test"
done
while ((${#name_of[@]})); do
	finish_one
done

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
