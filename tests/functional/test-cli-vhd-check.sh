#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk vhd check: Azure's five rules, each broken by a file of its own; what mends it, does.
. "$(dirname "$0")/../lib.sh"
need qemu-img jq
cd "$TEST_DIR"
mkvhdlayer=$BUILD_DIR/tests/mkvhdlayer
make_random raw 8192
truncate -s 32M raw
make_vhd good.vhd fixed raw
make_vhd dynamic.vhd dynamic raw

# broken FILE: the rules it breaks. Prints nothing when Azure takes it.
broken() {
	"$sealblk" vhd check --json "$1" >report || true
	jq -r '[.rules[] | select(.kept | not) | .rule] | join(" ")' report
}

# mends FILE RULE: the command that mends it.
mends() {
	{ "$sealblk" vhd check --json "$1" || true; } | jq -r ".rules[] | select(.rule == \"$2\") | .mends"
}

# expect_broken FILE RULES
expect_broken() {
	expect_exit 3 "$sealblk" vhd check "$1"
	expect_output "^$1: Azure refuses it$"
	expect_equal "$2" "$(broken "$1")" "rules that $1 breaks"
}

expect_taken() {
	expect_exit 0 "$sealblk" vhd check "$1"
	expect_output "^$1: Azure takes it$"
	expect_equal "" "$(broken "$1")"
}

# expect_fixed FILE: --fix makes it one that is taken, and whose disk is in raw.
expect_fixed() {
	expect_exit 0 "$sealblk" vhd check --fix "$1"
	expect_output '^fixed: '
	expect_taken "$1"
	qemu-img compare -q -f vpc -F raw "$1" raw
}

# put FILE OFFSET BYTES: in the footer; its sum is made right again unless it is what is put.
put() {
	local at=$(($(stat -c %s "$1") - 512))
	# shellcheck disable=SC2059  # bytes
	printf "$3" | dd of="$1" bs=1 seek=$((at + $2)) conv=notrunc status=none
	(($2 == 64)) && return
	/usr/bin/env python3 - "$1" <<-'END'
		import struct, sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(-512, 2)
		    b = bytearray(f.read())
		    b[64:68] = bytes(4)
		    b[64:68] = struct.pack(">I", ~sum(b) & 0xffffffff)
		    f.seek(-512, 2)
		    f.write(b)
	END
}

expect_taken good.vhd
before=$(digest good.vhd)
expect_exit 0 "$sealblk" vhd check --fix good.vhd
expect_equal "$before" "$(digest good.vhd)" "a good file after --fix"

# ---- each rule -----------------------------------------------------------------------
expect_broken dynamic.vhd "fixed length"
expect_equal "sealblk convert dynamic.vhd NEW.vhd" "$(mends dynamic.vhd fixed)"
"$sealblk" convert dynamic.vhd new.vhd
expect_taken new.vhd

cp good.vhd sum.vhd
put sum.vhd 64 '\x12'
expect_broken sum.vhd footer
expect_equal "sealblk vhd check --fix sum.vhd" "$(mends sum.vhd footer)"
expect_fixed sum.vhd
expect_same good.vhd sum.vhd

head -c 8192 raw >small.raw
truncate -s 8M small.raw
make_vhd small.vhd fixed small.raw
expect_broken small.vhd size
expect_equal "sealblk convert small.vhd NEW.vhd" "$(mends small.vhd size)"
"$sealblk" convert --force small.vhd new.vhd
expect_taken new.vhd

qemu-img convert -f raw -O vpc -o subformat=fixed raw rounded.vhd
expect_broken rounded.vhd whole_mib
expect_equal "sealblk convert rounded.vhd NEW.vhd" "$(mends rounded.vhd whole_mib)"
"$sealblk" convert --force rounded.vhd new.vhd
expect_taken new.vhd

# 31 MiB, says the footer; there are 32 before it.
cp good.vhd length.vhd
put length.vhd 48 '\x00\x00\x00\x00\x01\xf0\x00\x00'
expect_broken length.vhd length
expect_equal "sealblk vhd check --fix length.vhd" "$(mends length.vhd length)"
expect_fixed length.vhd

# ---- lost and damaged ------------------------------------------------------------------
head -c 32M good.vhd >lost.vhd
expect_broken lost.vhd "fixed footer size whole_mib length"
expect_fixed lost.vhd
cp good.vhd zeroed.vhd
dd if=/dev/zero of=zeroed.vhd bs=512 seek=65536 count=1 conv=notrunc status=none
expect_fixed zeroed.vhd
head -c -1 good.vhd >old.vhd
expect_exit 3 "$sealblk" vhd check old.vhd
expect_fixed old.vhd
cp good.vhd garbled.vhd
put garbled.vhd 64 '\xff\xff\xff\xff\xff\xff'
put garbled.vhd 48 '\xff\xff\xff\xff\xff\xff\xff'
expect_fixed garbled.vhd

# A dynamic one has two; that Azure refuses it stays so.
for spoil in "dd if=/dev/urandom bs=512 count=1 seek=$(($(stat -c %s dynamic.vhd) / 512 - 1))" \
	"dd if=/dev/zero bs=512 count=1 seek=0"; do
	cp dynamic.vhd two.vhd
	$spoil of=two.vhd conv=notrunc status=none
	expect_exit 3 "$sealblk" vhd check --fix two.vhd
	expect_output '^fixed: the footer'
	expect_same dynamic.vhd two.vhd
done
head -c -512 dynamic.vhd >two.vhd
expect_exit 3 "$sealblk" vhd check --fix two.vhd
expect_same dynamic.vhd two.vhd

# ---- beyond mending: nothing is written --------------------------------------------------
untouched() {
	local file=$1 status=$2 before
	before=$(digest "$file")
	expect_exit "$status" "$sealblk" vhd check --fix "$file"
	expect_equal "$before" "$(digest "$file")" "$file after --fix"
}
(head -c 30M good.vhd; tail -c 512 good.vhd) >cut.vhd
untouched cut.vhd 3
expect_equal "nothing: the file is cut, copy it again" "$(mends cut.vhd length)"
(head -c 3000 dynamic.vhd; tail -c 512 dynamic.vhd) >cut-dynamic.vhd
untouched cut-dynamic.vhd 3
cp dynamic.vhd both.vhd
dd if=/dev/zero of=both.vhd bs=512 count=1 conv=notrunc status=none
truncate -s -512 both.vhd
untouched both.vhd 3
cp raw disk.raw
untouched disk.raw 3
expect_equal "sealblk convert disk.raw NEW.vhd" "$(mends disk.raw fixed)"
head -c 100 raw >short.vhd
untouched short.vhd 3
qemu-img create -q -f vhdx x.vhdx 32M
untouched x.vhdx 3
expect_equal "sealblk convert x.vhdx NEW.vhd" "$(mends x.vhdx fixed)"
for lie in header block-size bat-outside block-on-header blocks-overlap; do
	"$mkvhdlayer" --size $((8 << 20)) --lie $lie lie.vhd lie.raw
	flip_byte lie.vhd 20
	untouched lie.vhd 3
done

# ---- refused ------------------------------------------------------------------------------
expect_exit 1 "$sealblk" vhd check missing.vhd
expect_output '^sealblk: file missing.vhd: cannot be opened: No such file'
expect_exit 2 "$sealblk" vhd check
cp good.vhd used.vhd
put used.vhd 64 '\x12'
qemu-io -r -f raw -c 'sleep 3000' used.vhd >/dev/null &
own_pid $!
sleep 0.3
before=$(digest used.vhd)
expect_exit 1 "$sealblk" vhd check --fix used.vhd
expect_output '^sealblk: file used.vhd: is in use: nothing was written$'
expect_equal "$before" "$(digest used.vhd)" "a file in use after --fix"
