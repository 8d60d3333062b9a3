#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Proves that the pure folders of daemon/ are pure: they include no header that
# does I/O and none of an edge folder, and their objects call nothing beyond
# each other and tests/layers.allow.
#
#   tests/check-layers.sh [BUILD]
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build}
pure=(base nbd map crypt vhd request)
status=0

files=() objects=()
for folder in "${pure[@]}"; do
	for file in daemon/"$folder"/*.[ch]; do
		[[ -e $file && $file != daemon/base/log.* ]] || continue
		files+=("$file")
		[[ $file == *.h ]] || objects+=("$build/obj/${file%.c}.o")
	done
done
((${#objects[@]})) || exit 0

# Headers that stand for system calls, printing and the edges.
system='<(unistd|liburing|stdio|fcntl|sys/.*)\.h>'
edges='"((net|control|keys)/.*|base/log|ring/.*|store/.*)\.h"'
allowed='<sys/types\.h>|"ring/ring\.h"|"store/store\.h"'
if grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]+($system|$edges)" "${files[@]}" |
	grep -vE "$allowed"; then
	echo 'layers: a pure folder includes what only edges may (above)' >&2
	status=1
fi

defined=$(nm --defined-only -g --format=posix "${objects[@]}" | awk 'NF > 1 { print $1 }' | sort -u)
patterns=$(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' tests/layers.allow)
general=$(grep -v '^crypt:' <<<"$patterns" | paste -sd '|')
crypt=$(sed -n 's/^crypt://p' <<<"$patterns" | paste -sd '|')

for object in "${objects[@]}"; do
	allow=$general
	[[ $object == */crypt/* ]] && allow="$general|$crypt"
	foreign=$(nm -u --format=posix "$object" | awk '{ print $1 }' | sort -u |
		comm -23 - <(echo "$defined") | grep -vxE "$allow" || true)
	[[ -z $foreign ]] || {
		echo "layers: ${object#"$build"/obj/} calls ${foreign//$'\n'/, }" >&2
		status=1
	}
done

((status)) || echo "layers: ${#objects[@]} pure files are pure"
exit "$status"
