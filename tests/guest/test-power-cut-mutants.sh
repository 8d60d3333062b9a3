#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Do the power cuts find what they are there to find? A daemon that is broken on
# purpose, by a patch of tests/sim/mutants, runs in the guest; a cut must show it.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need patch
names=(2-no-data-sync)
[[ ${SEALBLK_LONG:-} ]] && names+=(2-bitmap-first 2-reply-before-map-sync 3-fua-data-only)
unset SEALBLK_LONG	# the short run is to find them
grep -q -e -fsanitize "$BUILD_DIR/flags" && skip "mutants are for the ordinary build"
cd "$TEST_DIR"

# build_mutant NAME: NAME/sealblkd; only what the patch changes is compiled.
build_mutant() {
	local file compile libs changed=() patch=$SRC_DIR/tests/sim/mutants/$1.patch
	read -ra compile <"$BUILD_DIR/flags"
	mkdir "$1"
	cp -r "$SRC_DIR/daemon" "$SRC_DIR/include" "$1"
	cd "$1"
	patch -p1 --silent --force <"$patch"
	while read -r file; do
		"${compile[@]}" -Wno-error -c -o "${file//\//-}.o" "$file"
		changed+=("${file//\//-}.o")
	done < <(sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$patch")
	read -ra libs <"$BUILD_DIR/libs"
	# What is in the changed objects is not taken from the archive.
	"${compile[@]}" -o sealblkd "$BUILD_DIR"/obj/daemon/*.o "${changed[@]}" \
		"$BUILD_DIR/libsealblk.a" "${libs[@]}"
	cd ..
}

for name in "${names[@]}"; do
	build_mutant "$name"
	status=0
	env -u TEST_DIR GUEST_SEALBLKD="$TEST_DIR/$name/sealblkd" \
		"$SRC_DIR/tests/guest/test-power-cut-ext4.sh" >"$name.log" 2>&1 || status=$?
	((status != 77)) || skip "$(tail -n 1 "$name.log")"
	nr_cuts=$(grep -c '^cut after' "$name.log" || true)
	((status != 0)) || fail "$name survived $nr_cuts cuts"
	((nr_cuts > 0)) || { cat "$name.log"; fail "$name did not come so far as to be cut"; }
	echo "$name: found by cut $nr_cuts:"
	sed -n '/^cut after/h; //!H; ${ x; p }' "$name.log"
done
echo "figures: ${#names[@]} mutants found by power cuts"
