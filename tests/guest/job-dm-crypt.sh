#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-dm-crypt.sh, where /dev/vda is the image,
# read-only: dm-crypt over the plane that begins at sector $plane_sector, with
# the keys of its TiB 0 and 1. $count_bytes are under test, after $skip_bytes.
set -e
: "${plane_sector:?}" "${key0:?}" "${key1:?}" "${skip_bytes:?}" "${count_bytes:?}"
export DM_DISABLE_UDEV=1	# it makes the nodes itself

tib_sectors=2147483648
sectors=16384	# what is mapped of each TiB

# map NAME TIB KEY
map() {
	echo "0 $sectors crypt aes-xts-plain64 $3 $(($2 * tib_sectors))" \
		"/dev/vda $((plane_sector + $2 * tib_sectors))" |
		/programs/dmsetup create "$1" --readonly
}

# digest NAME: of the bytes under test.
digest() {
	dd if="/dev/mapper/$1" of=/tmp/read bs=64k skip=$((skip_bytes / 65536)) \
		count=$((count_bytes / 65536)) 2>/dev/null
	sha256sum </tmp/read | cut -d' ' -f1
}

map tib0 0 "$key0"
map tib1 1 "$key1"
map wrong 1 "$key0"
/programs/dmsetup table
for name in tib0 tib1 wrong; do
	digest=$(digest $name)
	echo "$name=$digest"
done
