#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk check: says nothing of a sound image, names each kind of damage by
# its place, and writes nothing.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_key other
make_random base.raw 2097152
"$sealblk" create --base base.raw --size 64M --key-file key image.seal

check() {
	"$sealblk" check --json "$@" | jq -c .
}

# Offsets of docs/format.md for a disk of 64 MiB: 17 map blocks.
superblocks=(0 65536)
keyrings=(131072 196608)
names=(262144 327680)
bitmap=1048576
map=2097152
plane=$((3 * 1024 * 1024))

# ---- fresh, and written and closed --------------------------------------------
expect_exit 0 "$sealblk" check image.seal
expect_equal 'image image.seal: clean' "$(tail -n 1 output)" "the last line"
expect_output '0 map blocks.*no key was given'

start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 1 0 64k' 'write -P 2 10M 1M' 'write -P 3 67107840 1024' \
	'write -P 4 5M 4k' 'discard 5M 4k'
expect_exit 1 "$sealblk" check --key-file key image.seal
expect_equal 1 "$(wc -l <output)" "lines of an image in use"
expect_output 'image image\.seal: is being served'
stop_daemon

cp --sparse=always image.seal before
expect_exit 0 "$sealblk" check --key-file key image.seal
expect_equal 'image image.seal: clean' "$(tail -n 1 output)" "the last line"
expect_output '4 map blocks, 1 plane; MACs and wrapped keys too'
expect_equal true "$(check --key-file key image.seal | jq '.sound and .macs_checked and .complete')"
expect_equal '[]' "$(check image.seal | jq -c .findings)" findings

# ---- keys ---------------------------------------------------------------------
expect_exit 4 "$sealblk" check --key-file other image.seal
expect_output 'image image\.seal: the key given does not open it'
expect_exit 1 "$sealblk" check --key-file none image.seal
expect_exit 2 "$sealblk" check --key-file key --key-file key image.seal
expect_same before image.seal

# ---- one byte of each kind of metadata ------------------------------------------
# damage PROBLEMS PATTERN OFFSET...: those bytes flipped, so many findings, and the pattern among them.
damage() {
	local problems=$1 pattern=$2
	shift 2
	cp --sparse=always before bad.seal
	flip_byte bad.seal "$@"
	expect_exit 3 "$sealblk" check bad.seal
	expect_output "$pattern"
	expect_equal "image bad.seal: $problems problem$([[ $problems == 1 ]] || echo s)" \
		"$(tail -n 1 output)" "the last line"
	expect_equal "$problems" "$(check bad.seal | jq .problems)" "problems in JSON"
}

for i in 0 1; do
	copy=$([[ $i == 0 ]] && echo A || echo B)
	damage 1 "^superblock $copy, 4096 bytes from byte ${superblocks[i]}: has a wrong checksum; copy . counts" \
		$((superblocks[i] + 300))
	damage 1 "^keyring $copy, 16384 bytes from byte ${keyrings[i]}: has a wrong checksum; copy . counts, so nothing is lost; .* copies that over" \
		$((keyrings[i] + 200))
	damage 1 "^name/value area $copy, 32768 bytes from byte ${names[i]}: has a wrong checksum" \
		$((names[i] + 4000))
	damage 1 "^bitmap block 0, slot $i, 4096 bytes from byte $((bitmap + i * 4096)): has a wrong checksum; the image cannot be opened until .*; slot $((!i)) is good" \
		$((bitmap + i * 4096 + 200))
	damage 1 "^map block 0, slot $i, 4096 bytes from byte $((map + i * 4096)): has a wrong checksum; bytes 0 to 4063231 of the disk cannot be read .* until .*; slot $((!i)) is good" \
		$((map + i * 4096 + 3000))
done
damage 1 '^superblock A, .*: has no magic' 0
damage 1 '^keyring B, .*: is of another image' $((keyrings[1] + 20))
damage 2 '^superblock B, .*: has a wrong checksum; the image cannot be opened; restore' 300 $((65536 + 300))
damage 2 '^keyring A, .*; no key opens the image any more, .*; restore' $((keyrings[0] + 200)) $((keyrings[1] + 200))
damage 2 '^name/value area A, .*; restore' $((names[0] + 200)) $((names[1] + 200))
damage 2 '^bitmap block 0, slot 1, .*; restore' $((bitmap + 200)) $((bitmap + 4096 + 200))
damage 2 '^map block 2, slot 0, .*: has a wrong checksum; bytes 8126464 to 12189695 of the disk cannot be read' \
	$((map + 2 * 8192 + 200)) $((map + 2 * 8192 + 4096 + 200))

# A good twin, copied as the advice says, is the end of it.
cp --sparse=always before bad.seal
flip_byte bad.seal $((map + 3000)) $((keyrings[1] + 99))
dd if=bad.seal of=bad.seal bs=4096 skip=$((map / 4096 + 1)) seek=$((map / 4096)) count=1 conv=notrunc status=none
dd if=bad.seal of=bad.seal bs=4096 skip=$((keyrings[0] / 4096)) seek=$((keyrings[1] / 4096)) count=4 \
	conv=notrunc status=none
expect_exit 0 "$sealblk" check --key-file key bad.seal

# A block wiped, both slots: the bitmap says that it must be there.
cp --sparse=always before bad.seal
dd if=/dev/zero of=bad.seal bs=4096 seek=$((map / 4096)) count=2 conv=notrunc status=none
expect_exit 3 "$sealblk" check bad.seal
expect_output '^map block 0, slot 0, .*: was never written, or has been zeroed'

# A block in another's place: whole, and wrong.
cp --sparse=always before bad.seal
dd if=before of=bad.seal bs=8192 skip=$((map / 8192)) seek=$((map / 8192 + 2)) count=1 conv=notrunc \
	status=none
expect_exit 3 "$sealblk" check bad.seal
expect_output '^map block 2, slot 0, .*: is another block'

# ---- the planes -----------------------------------------------------------------
# Where no entry points there is to be nothing.
cp --sparse=always before bad.seal
printf leftover | dd of=bad.seal bs=1 seek=$((plane + 40 * 1024 * 1024)) conv=notrunc status=none
expect_exit 3 "$sealblk" check bad.seal
expect_output "^plane 2, 512 bytes from byte $((plane + 40 * 1024 * 1024)): holds 1 sectors of ciphertext"

# And where one does, not a hole.
cp --sparse=always before bad.seal
if fallocate -p -o $((plane + 10 * 1024 * 1024)) -l 65536 bad.seal 2>/dev/null; then
	expect_exit 3 "$sealblk" check bad.seal
	expect_output "^plane 2, 65536 bytes from byte $((plane + 10 * 1024 * 1024)): lacks 128 sealed sectors"
fi

truncate -s $((plane + 1024 * 1024)) bad.seal
expect_exit 3 "$sealblk" check bad.seal
expect_output "^file, .* from byte $((plane + 1024 * 1024)): is cut short"

# ---- the base -------------------------------------------------------------------
cp --sparse=always before bad.seal
flip_byte base.raw 1000
expect_exit 3 "$sealblk" check bad.seal
expect_output '^base .*base\.raw: has changed: content'
flip_byte base.raw 1000
mv base.raw away
expect_exit 3 "$sealblk" check bad.seal
expect_output '^base .*base\.raw: is missing'
expect_equal null "$(check bad.seal | jq '.findings[0].offset_bytes')" "the base's place in the image"
mv away base.raw

# ---- not images -----------------------------------------------------------------
expect_exit 1 "$sealblk" check none
make_random junk 2097152
expect_exit 3 "$sealblk" check junk
expect_output '^superblock A, .*: has no magic'
: >empty
expect_exit 3 "$sealblk" check empty
expect_output 'too short'

# ---- not closed -----------------------------------------------------------------
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 5 20M 1M'
kill_daemon
expect_exit 0 "$sealblk" check --key-file key image.seal
expect_output '^note: map, .*: was not closed cleanly'
expect_equal 'image image.seal: no problems, but it was not closed cleanly' "$(tail -n 1 output)"
expect_equal unclean "$(check image.seal | jq -r .state)" state
start_daemon --socket "$socket" --key-file key image.seal
stop_daemon
expect_exit 0 "$sealblk" check --key-file key image.seal
expect_equal 'image image.seal: clean' "$(tail -n 1 output)" "after recovery"

# ---- large ones are quick -------------------------------------------------------
"$sealblk" create --size 2T --key-file key large.seal
expect_exit 0 timeout 5 "$sealblk" check --key-file key large.seal
expect_output '18 bitmap blocks, 0 map blocks'

expect_exit 0 "$sealblk" check --help
expect_output '^usage: sealblk check '
