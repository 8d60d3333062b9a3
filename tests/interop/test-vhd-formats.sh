#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What other programs make of the VHDs that we write, and we of theirs.
. "$(dirname "$0")/../lib.sh"
need qemu-img qemu-io python3 jq
cd "$TEST_DIR"
geometry=$SRC_DIR/tests/tools/vhd_geometry.py
SEED=${SEED:-$RANDOM}
echo "SEED=$SEED"

# The geometry of 10,000 disks, by the specification's algorithm written down once more.
"$geometry" sizes 10000 "$SEED" >sizes.txt
expect_equal 10000 "$(wc -l <sizes.txt)" "sizes tried"
"$geometry" expect <sizes.txt >expected
"$BUILD_DIR/tests/chs" <sizes.txt >ours
expect_same expected ours

# ... and of some as qemu-img writes it. It rounds each disk up to a geometry, up to the largest one.
awk -v seed="$SEED" 'BEGIN { srand(seed) } $1 < 267000000 && rand() < 0.004' sizes.txt >some
number=100
while read -r sectors; do
	qemu-img create -q -f vpc -o subformat=fixed "qemu-$((number += 1)).vhd" $((sectors * 512))
done <some
((number > 115)) || fail "too few sizes were tried"
"$geometry" footer qemu-*.vhd >theirs
"$geometry" round <some | "$BUILD_DIR/tests/chs" >ours
expect_same theirs ours
rm qemu-*.vhd

# ---- what others make of ours, and we of theirs ----

# random_disk FILE MIB: sparse; runs of random sectors and of stored zeros, at any sector.
random_disk() {
	/usr/bin/env python3 - "$1" "$2" "$SEED$1" <<-'END'
		import random, sys
		path, mib, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
		rng = random.Random(seed)
		sectors = mib * 2048
		with open(path, "wb") as f:
		    f.truncate(sectors * 512)
		    for _ in range(rng.randint(5, 60)):
		        n = min(int(2 ** rng.uniform(0, 12)), sectors)
		        f.seek(rng.choice([0, sectors - n, rng.randrange(sectors - n + 1)]) * 512)
		        f.write(bytes(n * 512) if rng.random() < 0.3 else rng.randbytes(n * 512))
	END
}

# convert ARGUMENT...: quietly.
convert() {
	"$sealblk" convert --force "$@" >/dev/null
}

# is_disk VHD RAW
is_disk() {
	qemu-img compare -q -f vpc -F raw "$1" "$2" || fail "qemu-img finds $1 and $2 different"
}

# Random content by random ways of formats comes out the same, and qemu-img agrees on each.
RANDOM=$SEED
for round in 1 2 3; do
	random_disk "random.raw" $((20 + RANDOM % 30))
	cp random.raw a
	way=raw
	for _ in 1 2 3; do
		formats=(vhd vhd-dynamic raw)
		to=${formats[RANDOM % 3]}
		way+=" $to"
		if [[ ${way% *} == *raw ]]; then convert --format "$to" a:raw b; else convert --format "$to" a:vhd b; fi
		[[ $to == raw ]] || is_disk b random.raw
		mv b a
	done
	if [[ $way == *raw ]]; then convert --format raw a:raw out.raw; else convert --format raw a:vhd out.raw; fi
	expect_same random.raw out.raw
	echo "round $round: $way"
done

# Theirs, all kinds; sizes of theirs may be larger than asked for.
for options in subformat=fixed,force_size=on subformat=dynamic,force_size=on subformat=fixed \
	subformat=dynamic; do
	qemu-img convert -f raw -O vpc -o $options random.raw theirs.vhd
	qemu-img convert -f vpc -O raw theirs.vhd theirs.raw
	for format in vhd vhd-dynamic; do
		convert --format $format theirs.vhd ours.vhd
		is_disk ours.vhd theirs.raw
		qemu-img convert -f vpc -O raw ours.vhd back.raw
		convert ours.vhd back2.raw
		expect_same back.raw back2.raw
	done
	convert theirs.vhd ours.raw
	expect_same theirs.raw ours.raw
done

# And VHDXs, which we do not write.
for options in subformat=dynamic subformat=fixed block_size=1M; do
	qemu-img convert -f raw -O vhdx -o $options random.raw theirs.vhdx
	convert theirs.vhdx ours.vhd
	is_disk ours.vhd random.raw
	convert theirs.vhdx ours.raw
	expect_same random.raw ours.raw
done

# The size is the same to everybody: to qemu-img, which asks creators, and to those who read it.
for mib in 20 1024 131072; do
	truncate -s ${mib}M empty.raw
	for format in vhd vhd-dynamic; do
		convert --format $format empty.raw ours.vhd
		expect_equal $((mib << 20)) "$(qemu-img info -f vpc --output json ours.vhd |
			jq '."virtual-size"')" "size of a $format of $mib MiB"
		(($(stat -c %b ours.vhd) * 512 < 1 << 20)) || fail "$format of nothing is not sparse"
	done
done

# libvhdi, which shares no line with QEMU.
# is_mounted_disk VHD RAW: as vhdimount shows it, where it may.
is_mounted_disk() {
	local status=0
	mkdir -p mnt
	if ! vhdimount "$1" mnt >/dev/null 2>&1; then
		echo "vhdimount may not mount here: $1 is not compared"
		return
	fi
	cmp mnt/vhdi1 "$2" || status=$?
	umount mnt 2>/dev/null || fusermount -u mnt
	((status == 0)) || fail "libvhdi finds $1 and $2 different"
}

if command -v vhdiinfo vhdimount >/dev/null; then
	size=$(stat -c %s random.raw)
	for format in vhd vhd-dynamic; do
		convert --format $format random.raw ours.vhd
		vhdiinfo ours.vhd >info
		grep -q "Media size.*($size bytes)" info || fail "libvhdi reads another size: $(cat info)"
		grep -q "Disk type.*: $([[ $format == vhd ]] && echo Fixed || echo Dynamic)" info
		is_mounted_disk ours.vhd random.raw
	done
else
	echo "libvhdi-utils are not there: libvhdi was not asked"
fi

# QEMU goes on writing where we have stopped: it takes what is behind the last block for zeros.
convert --format vhd-dynamic random.raw ours.vhd
for write in "$(($(stat -c %s random.raw) - 4096)) 4096" "5M 512" "9M 512" "13M 4M"; do
	qemu-io -f vpc -c "write -P 0x42 $write" ours.vhd >/dev/null
	qemu-io -f raw -c "write -P 0x42 $write" random.raw >/dev/null
done
is_disk ours.vhd random.raw
convert ours.vhd out.raw
expect_same random.raw out.raw
"$sealblk" vhd info ours.vhd | grep -q '^verdict *sound'
truncate -s 24M empty.raw
convert --format vhd-dynamic empty.raw ours.vhd
for disk in "vpc ours.vhd" "raw empty.raw"; do
	qemu-io -f "${disk% *}" -c "write -P 0x42 5M 512" "${disk#* }" >/dev/null
done
is_disk ours.vhd empty.raw
