#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Do the tests find what they are there to find? Each patch in tests/sim/mutants
# breaks one rule of the code, named in its first line; a test must then fail:
# the crash explorer, or the one that a second line names ("Test: unit", "Test:
# functional/test-one-writer.sh", "Test: sim-NAME"). A mutant that survives, is
# found only by running out of time, does not compile or whose patch does not
# apply any more fails the test.
#
#   tests/sim/mutants.sh [NAME...]    (default: all of them)
#
# Only the changed files are compiled; the rest comes from the ordinary build.
set -euo pipefail

src_dir=$(cd "$(dirname "$0")/../.." && pwd)
build_dir=$(realpath -m "${BUILD_DIR:-$src_dir/build}")
patch_dir=$src_dir/tests/sim/mutants
mutants_dir=$build_dir/mutants.$$
seconds_max=180
unset SEALBLK_LONG # the short run is to find them

if grep -q -e -fsanitize "$build_dir/flags"; then
	echo "mutants are for the ordinary build, which is faster"
	exit 77
fi

# As the Makefile compiled everything else; the compiler's name comes first.
read -ra compile <"$build_dir/flags"
read -ra libs <<<"$(<"$build_dir/libs") $(pkg-config --libs criterion)"

# objects_of FOLDER...: the objects of the sources there, main programs of sim/ apart.
objects_of() {
	local folder source
	for folder; do
		for source in "$src_dir/$folder"/*.c; do
			[[ $source == */sim/run_*.c ]] && continue
			source=${source#"$src_dir/"}
			echo "$build_dir/obj/${source%.c}.o"
		done
	done
}

# link PROGRAM OBJECT...: in the mutant's folder. What @changed defines is not taken from the archive.
link() {
	local program=$1
	shift
	"${compile[@]}" -o "$program" "${changed[@]}" "$@" "$build_dir/libsealblk.a" "${libs[@]}"
}

# build_programs TEST: what it needs, where the mutant is.
build_programs() {
	local objects
	case $1 in
	unit) mapfile -t objects < <(cd "$src_dir" && objects_of tests/unit/*; echo "$build_dir/obj/kernel-shim/parse.o") ;;
	sim-*) mapfile -t objects < <(objects_of tests/sim; echo "$build_dir/obj/tests/sim/run_${1#sim-}.o") ;;
	functional/*)
		mapfile -t objects < <(objects_of daemon)
		link sealblkd "${objects[@]}"
		mapfile -t objects < <(objects_of tools)
		link sealblk "${objects[@]}"
		mkdir -p tests && ln -sf "$build_dir"/tests/mkvhd* tests/
		cp "$build_dir/flags" "$build_dir/libs" .
		return ;;
	*) echo "$1: no such test"; return 1 ;;
	esac
	link "$1" "${objects[@]}"
}

# A copy of the sources with the patch applied, and the test built from it.
build_mutant() {
	local name=$1 test=$2 dir=$3 file changed=()

	mkdir -p "$dir"
	cp -r "$src_dir/daemon" "$src_dir/include" "$dir"
	cd "$dir"
	patch -p1 --silent --force --no-backup-if-mismatch <"$patch_dir/$name.patch" || return 1
	while read -r file; do
		[[ $file == daemon/*/*.c ]] || { echo "$file: only these are compiled again: daemon/*/*.c"; return 1; }
		# A mutant may leave something unused.
		"${compile[@]}" -Wno-error -c -o "${file//\//-}.o" "$file" || return 1
		changed+=("$PWD/${file//\//-}.o")
	done < <(sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$patch_dir/$name.patch")
	build_programs "$test"
}

run_test() {
	case $1 in
	# In a folder of its own, not in that of this test.
	functional/*)
		env -u TEST_DIR -u XDG_RUNTIME_DIR BUILD_DIR="$2" timeout "$seconds_max" "$src_dir/tests/$1"
		;;
	*) timeout "$seconds_max" "$2/$1" ;;
	esac
}

# The line of a test's output that says most: why the explorer or a unit test complained.
reason() {
	{ grep -m 1 -A 20 '^violation' "$1" || cat "$1"; } | grep -v -e '^ *again: ' -e '^\[====\]' |
		tail -n 1 | sed 's/^ *//'
}

killed=0 survived=0

judge() {
	local name=$1 dir=$mutants_dir/$1 test status=0 start_s
	test=$(sed -n '2s/^Test: //p' "$patch_dir/$name.patch")
	test=${test:-sim-explorer}

	if ! (build_mutant "$name" "$test" "$dir") >"$dir.log" 2>&1; then
		echo "$name: cannot be built:"
		sed 's/^/    /' "$dir.log"
		survived=$((survived + 1))
		return
	fi
	start_s=$SECONDS
	run_test "$test" "$dir" >"$dir.log" 2>&1 || status=$?
	if ((status == 0 || status == 77 || status == 124)); then
		((status != 124)) || echo "no end in $seconds_max s" >>"$dir.log"
		echo "$name: SURVIVED $test ($(reason "$dir.log"))"
		head -n 1 "$patch_dir/$name.patch"
		survived=$((survived + 1))
	else
		killed=$((killed + 1))
		echo "$name: killed by $test in $((SECONDS - start_s)) s ($(reason "$dir.log"))"
	fi
	rm -rf "$dir"
}

mkdir -p "$mutants_dir"
trap 'rm -rf "$mutants_dir"' EXIT
if (($# == 0)); then
	for file in "$patch_dir"/*.patch; do
		set -- "$@" "$(basename "$file" .patch)"
	done
fi
for name in "$@"; do
	judge "$name"
done
echo "figures: $killed mutants killed, $survived survived"
((survived == 0 && killed > 0))
