#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk check --repair: mends what has a sound copy, leaves the rest byte for
# byte, and the data reads right through the daemon afterwards.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_key other
"$sealblk" create --size 64M --key-file key image.seal

# Offsets of docs/format.md for a disk of 64 MiB: 17 map blocks.
superblocks=(0 65536)
keyrings=(131072 196608)
names=(262144 327680)
bitmap=1048576
map=2097152
plane=$((3 * 1024 * 1024))

start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 1 0 64k' 'write -P 2 10M 1M' 'write -P 3 67107840 1024'
stop_daemon
cp --sparse=always image.seal before

# ---- what it wants ----------------------------------------------------------------
expect_exit 2 "$sealblk" check --repair image.seal
expect_equal 1 "$(wc -l <output)" "lines of a usage error"
expect_output '^sealblk: check: --repair wants a key, --key-file, --passphrase-file, '
expect_exit 2 "$sealblk" info --repair image.seal
expect_exit 4 "$sealblk" check --repair --key-file other image.seal
expect_output 'image image\.seal: the key given does not open it'
expect_exit 1 "$sealblk" check --repair --key-file none image.seal
expect_exit 1 "$sealblk" check --repair --key-file key none.seal
expect_exit 0 "$sealblk" check --repair --key-file key image.seal
expect_equal 'image image.seal: clean, nothing to repair' "$(tail -n 1 output)" "of a sound image"
expect_same before image.seal

# In use: whoever serves it, also for reading, keeps us out.
flip_byte image.seal $((superblocks[1] + 300))
for how in '' --read-only; do
	# shellcheck disable=SC2086  # nothing, or one option
	start_daemon --socket "$socket" --key-file key $how image.seal
	expect_exit 1 "$sealblk" check --repair --key-file key image.seal
	expect_equal 1 "$(wc -l <output)" "lines of an image in use"
	expect_output 'image image\.seal: is being served, and cannot be repaired meanwhile'
	stop_daemon
done
cp --sparse=always before image.seal

# read_only COMMAND: with bad.seal in a folder that cannot be written to.
read_only() {
	if ((EUID == 0)); then
		# shellcheck disable=SC2016  # for the inner shell
		unshare --mount sh -c 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"' sh "$@"
	else
		chmod 400 bad.seal
		local status=0
		"$@" || status=$?
		chmod 600 bad.seal
		return "$status"
	fi
}

cp --sparse=always before bad.seal
flip_byte bad.seal $((keyrings[0] + 99))
if ((EUID != 0)) || unshare --mount true 2>/dev/null; then
	sum=$(digest bad.seal)
	status=0
	read_only "$sealblk" check --repair --key-file key bad.seal >said 2>&1 || status=$?
	cat said
	expect_equal 1 "$status" "exit of a repair of a file that cannot be written"
	expect_equal 1 "$(wc -l <said)" "lines of it"
	grep -q 'image bad\.seal: cannot be opened for writing' said || fail "it does not say so"
	expect_equal "$sum" "$(digest bad.seal)" "the file"
fi

# ---- what is mended ----------------------------------------------------------------
# same_disk: what the daemon serves is what was written.
same_disk() {
	start_daemon --socket "$socket" --key-file key bad.seal
	nbd_io "$socket" 'read -P 1 0 64k' 'read -P 0 64k 1M' 'read -P 2 10M 1M' 'read -P 3 67107840 1024'
	stop_daemon
}

# mend REPAIRED PATTERN: bad.seal is damaged; it is made what it was, and the pattern is printed.
mend() {
	expect_exit 3 "$sealblk" check bad.seal
	expect_exit 3 "$sealblk" check --key-file key bad.seal
	expect_exit 0 "$sealblk" check --repair --key-file key bad.seal
	expect_output "$2"
	expect_equal "$1" "$(grep -c '^repaired: ' output)" "lines that tell a repair"
	expect_equal "image bad.seal: $1 repair$([[ $1 == 1 ]] || echo s), clean" "$(tail -n 1 output)" \
		"the last line"
	expect_same before bad.seal
	expect_exit 0 "$sealblk" check --key-file key bad.seal
	expect_equal 'image bad.seal: clean' "$(tail -n 1 output)" "a check afterwards"
	expect_exit 0 "$sealblk" check --repair --key-file key bad.seal
	expect_equal 'image bad.seal: clean, nothing to repair' "$(tail -n 1 output)" "a second repair"
}

for i in 0 1; do
	copy=$([[ $i == 0 ]] && echo A || echo B)
	twin=$([[ $i == 0 ]] && echo B || echo A)
	for area in "superblock:${superblocks[i]}" "keyring:${keyrings[i]}" "name/value area:${names[i]}"; do
		cp --sparse=always before bad.seal
		flip_byte bad.seal $((${area##*:} + 300))
		mend 1 "^repaired: ${area%:*} $copy, [0-9]+ bytes from byte ${area##*:}: copied from ${area%:*} $twin\$"
	done
	for block in "bitmap block 0:$bitmap" "map block 0:$map" "map block 2:$((map + 2 * 8192))"; do
		cp --sparse=always before bad.seal
		flip_byte bad.seal $((${block##*:} + i * 4096 + 1000))
		mend 1 "^repaired: ${block%:*}, slot $i, 4096 bytes from byte $((${block##*:} + i * 4096)): copied from slot $((!i))\$"
	done
done
same_disk

# All at once; a slot that is only zeros; superseded data in the plane.
cp --sparse=always before bad.seal
flip_byte bad.seal $((superblocks[0] + 5)) $((keyrings[1] + 5)) $((names[0] + 5)) $((bitmap + 4096 + 5))
dd if=/dev/zero of=bad.seal bs=4096 seek=$((map / 4096 + 1)) count=1 conv=notrunc status=none
printf leftover | dd of=bad.seal bs=1 seek=$((plane + 40 * 1024 * 1024)) conv=notrunc status=none
printf leftover | dd of=bad.seal bs=1 seek=$((plane + 70000)) conv=notrunc status=none
mend 6 "^repaired: plane 2, 1024 bytes from byte $((plane + 70000 / 512 * 512)): 2 sectors punched out\$"
same_disk

# For programs.
cp --sparse=always before bad.seal
flip_byte bad.seal $((keyrings[0] + 300)) $((map + 300))
"$sealblk" check --repair --json --key-file key bad.seal >json
expect_equal '[true,2,2,0,["keyring A","map block 0, slot 0"],[]]' \
	"$(jq -c '[.sound, .problems_found, .repaired, .problems, [.repairs[].subject], .left]' json)" JSON
expect_same before bad.seal

# ---- what is left -------------------------------------------------------------------
# leave PATTERN: bad.seal is damaged beyond repair, and stays as it is.
leave() {
	local sum
	sum=$(digest bad.seal)
	expect_exit 3 "$sealblk" check --repair --key-file key bad.seal
	expect_output "$1"
	if grep -q '^repaired: ' output; then fail "something was repaired"; fi
	expect_equal "$sum" "$(digest bad.seal)" "the file"
}

for pair in "${superblocks[*]}" "${keyrings[*]}" "${names[*]}" "$bitmap $((bitmap + 4096))"; do
	cp --sparse=always before bad.seal
	flip_byte bad.seal $((${pair% *} + 200)) $((${pair#* } + 300))
	leave '; restore the image from a copy'
done

# A map block: its sectors are lost, all others are there.
cp --sparse=always before bad.seal
flip_byte bad.seal $((map + 2 * 8192 + 200)) $((map + 2 * 8192 + 4096 + 200))
leave '^map block 2, slot 0, .*: has a wrong checksum; bytes 8126464 to 12189695 of the disk cannot be read \(EIO\), all others can; restore'
start_daemon --socket "$socket" --key-file key bad.seal
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 3 67107840 1024'
if qemu-io -f raw -c 'read 10M 4k' "$(nbd_uri "$socket")" >lost 2>&1; then fail "a lost sector reads"; fi
stop_daemon

# One of two: the other is mended, and what is left is told once more.
cp --sparse=always before bad.seal
flip_byte bad.seal $((superblocks[0] + 7)) $((map + 2 * 8192 + 200)) $((map + 2 * 8192 + 4096 + 200))
expect_exit 3 "$sealblk" check --repair --key-file key bad.seal
expect_output '^repaired: superblock A, '
expect_output '^left: map block 2, slot 1 has a wrong checksum; bytes 8126464 to 12189695 of the disk'
expect_equal 'image bad.seal: 1 repair, 2 problems left' "$(tail -n 1 output)" "the last line"

# ---- not closed ---------------------------------------------------------------------
dirty=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) && dirty=/run/sealblk
uuid=$("$sealblk" info --json image.seal | jq -r .uuid)
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 5 20M 1M'
# Not flushed: the client is gone before it could.
qemu-io -f raw -t writeback -c 'write -P 6 30M 64k' -c 'sigraise 9' "$(nbd_uri "$socket")" >>qemu-io.log 2>&1 || true
kill_daemon

expect_exit 0 "$sealblk" check --key-file key image.seal
expect_output "^note: dirty file in $dirty is there: [0-9]+ records of [0-9]+ sectors; no acknowledged write is lost"
expect_exit 0 "$sealblk" check image.seal
expect_output '^note: dirty file .*its MAC not checked'

# A copy of it is another file, which the dirty file does not belong to.
cp --sparse=always image.seal copy.seal
expect_exit 3 "$sealblk" check --key-file key copy.seal
expect_output '^dirty file in .* belongs to another file: .*; writes that were acknowledged but not flushed may be lost'

# In this very boot nothing is repaired before it is recovered.
flip_byte image.seal $((keyrings[1] + 77))
sum=$(digest image.seal)
expect_exit 3 "$sealblk" check --repair --key-file key image.seal
expect_output '^image image\.seal: nothing repaired, since it was not closed: serve it once'
expect_equal "$sum" "$(digest image.seal)" "an image that was not closed"

# The dirty file: a byte of it, and without it.
file=$(echo "$dirty/$uuid".*.dirty)
cp "$file" kept
flip_byte "$file" 80
expect_exit 3 "$sealblk" check --key-file key image.seal
expect_output '^dirty file in .* has a wrong MAC'
cp kept "$file"
flip_byte "$file" 120
expect_exit 3 "$sealblk" check --key-file key image.seal
expect_output '^dirty file in .* was voided: a write or fsync had failed'
rm "$file"
expect_exit 3 "$sealblk" check --key-file key image.seal
expect_output '^dirty file in .* is missing, or of a wrong length; .*--accept-loss'
expect_exit 3 "$sealblk" check --json image.seal
expect_equal null "$(jq '.findings[] | select(.subject == "dirty file") | .offset_bytes' output)" \
	"the dirty file's place in the image"
cp kept "$file"

# Recovered, then repaired.
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 5 20M 1M' 'read -P 6 30M 64k'
stop_daemon
expect_exit 0 "$sealblk" check --repair --key-file key image.seal
expect_output '^repaired: keyring B, '
expect_equal 'image image.seal: 1 repair, clean' "$(tail -n 1 output)" "the last line"

"$sealblk" check --help >help
grep -q -- '--repair copies sound copies over damaged ones' help || fail "--help does not explain --repair"
