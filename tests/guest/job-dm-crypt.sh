#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-dm-crypt.sh, where /dev/vda is the image,
# read-only: dm-crypt over the plane that begins at sector $plane_sector, with
# the keys $key0 and $key1 of its TiB 0 and 1.
set -e

tib_sectors=2147483648
sectors=16384	# what is mapped of each TiB

# map NAME TIB KEY
map() {
	echo "0 $sectors crypt aes-xts-plain64 $3 $(($2 * tib_sectors))" \
		"/dev/vda $((plane_sector + $2 * tib_sectors))" |
		/programs/dmsetup create "$1" --readonly --noudevsync
}

# digest NAME: of the bytes under test.
digest() {
	dd if=/dev/mapper/"$1" bs=64k skip=$((skip_bytes / 65536)) count=$((count_bytes / 65536)) \
		2>/dev/null | sha256sum | cut -d' ' -f1
}

map tib0 0 "$key0"
map tib1 1 "$key1"
map wrong 1 "$key0"
/programs/dmsetup table | sed 's/^/(/; s/$/)/'
echo "digest0=$(digest tib0)"
echo "digest1=$(digest tib1)"
echo "digest_wrong=$(digest wrong)"
