#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk vhd info: footers by QEMU of each kind, damage, and Azure's rules.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-img
cd "$TEST_DIR"
make_random raw 8192
truncate -s 32M raw
make_vhd fixed.vhd fixed raw
make_vhd dynamic.vhd dynamic raw
qemu-img convert -f raw -O vpc -o subformat=fixed raw rounded.vhd

info() {
	"$sealblk" vhd info --json "$1" | jq -r "$2"
}

azure() {
	info "$1" '.azure | "\(.fixed) \(.footer) \(.size) \(.whole_mib) \(.length) \(.accepted)"'
}

# ---- fixed ------------------------------------------------------------------------
expect_exit 0 "$sealblk" vhd info fixed.vhd
expect_output '^type +fixed$'
expect_output '^disk +32 MiB \(33554432 bytes\)$'
expect_output '^ +by its current size: '
expect_output '^creator +"qem2" \(QEMU, exact size\)'
expect_output '^checksum +[0-9a-f]{8}, right$'
expect_output '^Azure wants +fixed VHD +yes$'
expect_output '^verdict +sound$'
expect_equal 'true true true true true true' "$(azure fixed.vhd)" "Azure's rules"
expect_equal 33554432 "$(info fixed.vhd .disk_bytes)" size
expect_equal "$(tail -c 512 fixed.vhd | od -An -tx1 -j 68 -N 16 | tr -d ' ')" \
	"$(info fixed.vhd '.footer.uuid' | tr -d -)" "unique id"
[[ $(info fixed.vhd .footer.created_time) == 20[0-9][0-9]-* ]] || fail "not a date"

# ---- by the geometry, and so no whole MiB ------------------------------------------
expect_exit 0 "$sealblk" vhd info rounded.vhd
expect_output '^ +by its geometry: '
expect_equal 'true true true false true false' "$(azure rounded.vhd)" "Azure's rules"
expect_equal true "$(info rounded.vhd '.disk_bytes == .footer.geometry.bytes')" "size and geometry"

# ---- dynamic: footer and copy --------------------------------------------------------
expect_exit 0 "$sealblk" vhd info dynamic.vhd
expect_output '^type +dynamic$'
expect_output '^data offset +512$'
expect_output '^copy at start +the same$'
expect_equal 'false true true true false false' "$(azure dynamic.vhd)" "Azure's rules"

expect_output '^dynamic header +at 512, block allocation table at 1536$'
expect_output '^block size +2 MiB \(2097152 bytes\)$'
expect_output '^blocks +1 of 16 in the file$'
expect_equal '512 1536 2097152 16 1' "$(info dynamic.vhd \
	'.dynamic | "\(.header_offset) \(.bat_offset) \(.block_bytes) \(.blocks) \(.blocks_stored)"')" dynamic
expect_equal 'null null' "$(info fixed.vhd '"\(.dynamic) \(.parent)"')" "of a fixed one"

# bad EXIT PATTERN FILE
bad() {
	expect_exit "$1" "$sealblk" vhd info "$3"
	expect_output "$2"
}

cp dynamic.vhd bad.vhd
flip_byte bad.vhd 100
bad 3 '^copy at start +differs' bad.vhd
cp dynamic.vhd bad.vhd
flip_byte bad.vhd 0
bad 3 "^verdict +the footer's copy at the start is missing" bad.vhd
cp dynamic.vhd bad.vhd
truncate -s -512 bad.vhd
bad 3 '^copy at start +good, and shown here' bad.vhd
expect_output '^verdict +there is no VHD footer in the last 512 bytes$'
expect_equal false "$(info bad.vhd .sound)" sound

# ---- headers that lie, and parents ----------------------------------------------------
layer=$BUILD_DIR/tests/mkvhdlayer
for lie in header block-size bat-short bat-outside block-outside blocks-overlap; do
	"$layer" --size 8388608 --lie $lie lying.vhd lying.raw
	bad 3 '^verdict +.*(dynamic header|block)' lying.vhd
	expect_equal "$([[ $lie == block-outside || $lie == blocks-overlap ]] && echo false || echo true)" \
		"$(info lying.vhd '.dynamic == null')" "header shown of one with a lie: $lie"
done
"$layer" --size 8388608 parent.vhd chain.raw
"$layer" --size 8388608 --parent parent.vhd child.vhd chain.raw
expect_exit 0 "$sealblk" vhd info child.vhd
expect_output '^type +differencing$'
expect_output '^parent +unique id [0-9a-f-]{36}, timestamp 20..-..-..T..:..:..Z$'
expect_output '^ +relative path parent\.vhd$'
expect_equal "$(info parent.vhd .footer.uuid) parent.vhd null" \
	"$(info child.vhd '.parent | "\(.uuid) \(.relative_path) \(.absolute_path)"')" parent
"$layer" --size 8388608 --parent parent.vhd --absolute child.vhd chain.raw
expect_equal "null $TEST_DIR/parent.vhd" \
	"$(info child.vhd '.parent | "\(.relative_path) \(.absolute_path)"')" parent

# ---- fixed and damaged ---------------------------------------------------------------
end=$(stat -c %s fixed.vhd)
cp --sparse=always fixed.vhd bad.vhd
flip_byte bad.vhd $((end - 512 + 200))
bad 3 '^checksum +[0-9a-f]{8}, wrong$' bad.vhd
expect_output '^verdict +footer checksum is wrong \(stored [0-9a-f]{8}, computed [0-9a-f]{8}\)$'
expect_output '^disk +unknown'
expect_equal 'true false true true true false' "$(azure bad.vhd)" "Azure's rules"

{ head -c 1M fixed.vhd && tail -c 512 fixed.vhd; } >bad.vhd
bad 3 '^verdict .*disk bytes: 33554432, before the footer: 1048576' bad.vhd
expect_equal 'true true true true false false' "$(azure bad.vhd)" "Azure's rules"
{ cat raw && head -c 512 /dev/zero && tail -c 512 fixed.vhd; } >longer.vhd
bad 0 '^ +file is the disk and 512 bytes +no$' longer.vhd

# ---- none ----------------------------------------------------------------------------
bad 3 'no VHD footer' raw
truncate -s -1 fixed.vhd
bad 3 'the footer has 511 bytes' fixed.vhd
: >empty
bad 3 'too short' empty
{ printf vhdxfile && head -c 1M /dev/zero; } >disk.vhdx
bad 3 'neither VHDX header is sound' disk.vhdx
bad 1 'No such file' none
bad 1 'cannot be' .
expect_exit 2 "$sealblk" vhd
expect_output 'did you mean vhd info'
expect_exit 0 "$sealblk" vhd info --help
expect_output '^usage: sealblk vhd info '

# ---- VHDX ----------------------------------------------------------------------------
qemu-img convert -f raw -O vhdx -o subformat=dynamic,block_size=1M raw by-qemu.vhdx
expect_exit 0 "$sealblk" vhd info by-qemu.vhdx
expect_output '^type +dynamic VHDX$'
expect_output '^disk +32 MiB \(33554432 bytes\)$'
expect_output '^sectors +logical 512, physical 4096 bytes$|^sectors +logical 512, physical 512 bytes$'
expect_output '^creator +QEMU v'
expect_output '^log +nothing to replay$'
expect_output '^blocks +[0-9]+ of 32 in the file$'
expect_output '^verdict +sound$'
expect_equal 'vhdx dynamic 33554432 1048576 32 false null' "$(info by-qemu.vhdx \
	'"\(.format) \(.type) \(.disk_bytes) \(.blocks.bytes) \(.blocks.number) \(.log.replayed) \(.parent)"')" VHDX
# Two headers: the one that counts is where the text says.
header=$("$sealblk" vhd info by-qemu.vhdx | sed -n 's/^headers .*current one at \([0-9]*\),.*/\1/p')
expect_equal "$(od -An -tx4 -j $((header + 32)) -N 4 --endian=little by-qemu.vhdx | tr -d ' ')" \
	"$(info by-qemu.vhdx .data_write_id | cut -d - -f 1)" "data write id"
cp by-qemu.vhdx bad.vhdx
flip_byte bad.vhdx 3
bad 3 'file bad\.vhdx: there is no VHDX signature \(byte 0\)$' bad.vhdx
cp by-qemu.vhdx anything
expect_equal vhdx "$(info anything .format)" "format, by the first bytes"
qemu-img convert -f raw -O vhdx -o subformat=fixed raw by-qemu.vhdx
expect_equal fixed "$(info by-qemu.vhdx .type)" type

mkvhdx=$BUILD_DIR/tests/mkvhdx
"$mkvhdx" --seed 3 parent.vhdx chain.raw
"$mkvhdx" --parent parent.vhdx --log replay child.vhdx chain.raw
expect_exit 0 "$sealblk" vhd info child.vhdx
expect_output '^type +differencing VHDX$'
expect_output '^log +replayed in memory: 3 entries, [0-9]+ changes, at 1048576$'
expect_output '^  relative path +parent\.vhdx$'
expect_equal "$(info parent.vhdx .data_write_id) parent.vhdx true 3" \
	"$(info child.vhdx '"\(.parent.data_write_id) \(.parent.relative_path) \(.log.replayed) \(.log.entries)"')" parent
make_key key
"$sealblk" create --base child.vhdx --key-file key vm.seal
expect_exit 0 "$sealblk" info vm.seal
expect_output "VHDX disk id $(info child.vhdx .disk_id), data write id $(info child.vhdx .data_write_id)$"
