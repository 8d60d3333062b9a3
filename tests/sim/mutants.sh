#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Does the crash explorer find what it is there to find? Each patch in
# tests/sim/mutants breaks one rule of the code, named in its first line; the
# explorer must then fail. A mutant that survives, is found only by running out
# of time, does not compile or whose patch does not apply any more fails the test.
#
#   tests/sim/mutants.sh [NAME...]    (default: all of them)
#
# Only the changed files are compiled; the rest comes from the ordinary build.
set -euo pipefail

src_dir=$(cd "$(dirname "$0")/../.." && pwd)
build_dir=$(realpath -m "${BUILD_DIR:-$src_dir/build}")
patch_dir=$src_dir/tests/sim/mutants
seconds_max=120
unset SEALBLK_LONG # the short run is to find them

if grep -q -e -fsanitize "$build_dir/flags"; then
	echo "mutants are for the ordinary build, which is faster"
	exit 77
fi

# As the Makefile compiled everything else; the compiler's name comes first.
read -ra compile <"$build_dir/flags"
libs=$(pkg-config --libs liburing libcrypto jansson)
objects=("$build_dir/obj/tests/sim/run_explorer.o")
for source in "$src_dir"/tests/sim/*.c; do
	[[ $source == */run_*.c ]] || objects+=("$build_dir/obj/tests/sim/$(basename "$source" .c).o")
done

# A copy of the sources with the patch applied, and the explorer built from it.
build_mutant() {
	local name=$1 dir=$2 file changed=()

	rm -rf "$dir"
	mkdir -p "$dir/tests"
	cp -r "$src_dir/daemon" "$src_dir/include" "$dir"
	cd "$dir"
	patch -p1 --silent --force --no-backup-if-mismatch <"$patch_dir/$name.patch" || return 1
	while read -r file; do
		[[ $file == *.c ]] || { echo "$file: only .c files are compiled again"; return 1; }
		# A mutant may leave something unused.
		"${compile[@]}" -Wno-error -c -o "${file//\//-}.o" "$file" || return 1
		changed+=("${file//\//-}.o")
	done < <(sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$patch_dir/$name.patch")
	# What is in these is not taken from the archive any more.
	# shellcheck disable=SC2086
	"${compile[@]}" -o explorer "${changed[@]}" "${objects[@]}" "$build_dir/libsealblk.a" $libs
}

killed=0 survived=0

judge() {
	local name=$1 dir=$build_dir/mutants/$1 status=0 start_s

	if ! (build_mutant "$name" "$dir") >"$dir.log" 2>&1; then
		echo "$name: cannot be built:"
		sed 's/^/    /' "$dir.log"
		survived=$((survived + 1))
		return
	fi
	start_s=$SECONDS
	timeout "$seconds_max" "$dir/explorer" >"$dir.log" 2>&1 || status=$?
	if ((status == 0 || status == 124)); then
		((status)) && echo "no end in $seconds_max s" >>"$dir.log"
		echo "$name: SURVIVED ($(tail -n 1 "$dir.log"))"
		head -n 1 "$patch_dir/$name.patch"
		survived=$((survived + 1))
	else
		killed=$((killed + 1))
		echo "$name: killed in $((SECONDS - start_s)) s ($(tail -n 1 "$dir.log" | sed 's/^ *//'))"
	fi
	rm -rf "$dir"
}

mkdir -p "$build_dir/mutants"
if (($# == 0)); then
	for file in "$patch_dir"/*.patch; do
		set -- "$@" "$(basename "$file" .patch)"
	done
fi
for name in "$@"; do
	judge "$name"
done
echo "$killed mutants killed, $survived survived"
((survived == 0 && killed > 0))
