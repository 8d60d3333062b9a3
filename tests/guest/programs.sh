# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For those who put programs of this machine into a guest's initramfs.

# copy_programs ROOT PROGRAM...: each, by name or path, with its libraries, to where it lies here
# (relative to ROOT), and a link to it in /programs. One may also be the path of a library that a
# program loads. Returns 1 if one is missing.
copy_programs() {
	local root=$1 program path
	shift
	mkdir -p "$root/programs"
	for program; do
		path=$program
		[[ -f $path ]] || path=$(command -v "$program") || return
		path=$(realpath -s "$path")
		cp -L --parents "$path" "$root"
		ln -sf "$path" "$root/programs/"
		# A static one has none.
		{ ldd "$path" || true; } 2>/dev/null | grep -o '/[^ ]*' |
			xargs -r cp -nL --parents -t "$root"
	done
}
