#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk import: the disk of a file becomes an image's, all of what is stored encrypted.
. "$(dirname "$0")/../lib.sh"
need qemu-img jq strace
cd "$TEST_DIR"
umask 077
mkvhdlayer=$BUILD_DIR/tests/mkvhdlayer
reader=$SRC_DIR/tests/tools/read_image.py
make_key key
make_key other

# inside IMAGE MEMBER: of info.
inside() {
	"$sealblk" info --json "$1" | jq -c "$2"
}

# expect_disk IMAGE RAW: what is in the image.
expect_disk() {
	expect_exit 0 "$sealblk" export --force --key-file key "$1" disk.raw
	expect_same "$2" disk.raw
	expect_exit 0 "$sealblk" check --key-file key "$1"
}

no_part() {
	[[ ! -e $1.part && ! -e $1.part.json ]] || fail "something is left of $1"
}

# 40 MiB: data with a text in it, a hole, zeros that are stored, data that ends amid a page.
make_random source.raw $((5 * 1024 * 1024 + 512))
printf 'plain text that must not be found' | dd of=source.raw bs=1 seek=100000 conv=notrunc status=none
dd if=/dev/zero of=source.raw bs=1M seek=20 count=4 conv=notrunc status=none
head -c 3000000 /dev/urandom | dd of=source.raw bs=1M seek=30 conv=notrunc status=none
truncate -s 40M source.raw
make_vhd fixed.vhd fixed source.raw
make_vhd dynamic.vhd dynamic source.raw
before=$(cat source.raw fixed.vhd dynamic.vhd | sha256sum)

for source in source.raw fixed.vhd dynamic.vhd; do
	expect_exit 0 "$sealblk" import "$source" --key-file key "$source.seal"
	expect_output "^imported $source to $source.seal: encrypted image, disk of 40 MiB"
	no_part "$source.seal"
	expect_equal true "$(inside "$source.seal" .server_encrypted)"
	expect_equal '[0,0]' "$(inside "$source.seal" '[.sectors.base, .sectors.plain]')"
	expect_disk "$source.seal" source.raw
	grep -q 'plain text that must not' "$source.seal" && fail "plaintext in $source.seal"
	(($(stat -c %b "$source.seal") * 512 < 12 * 1024 * 1024)) || fail "$source.seal is not sparse"
done
# By the format's description alone.
"$reader" source.raw.seal --key-file key --read 0 0 >disk.raw
expect_same source.raw disk.raw
expect_equal "$before" "$(cat source.raw fixed.vhd dynamic.vhd | sha256sum)"

# A chain; the base is not needed any more.
"$mkvhdlayer" --size $((24 << 20)) --seed 1 parent.vhd chain.raw
"$mkvhdlayer" --size $((24 << 20)) --seed 2 --parent parent.vhd child.vhd chain.raw
expect_exit 0 "$sealblk" import --json child.vhd --key-file key chain.seal
jq -e '.event == "done" and .stored_bytes == .written_bytes' output >/dev/null ||
	jq -e '.event == "done" and .stored_bytes > .written_bytes' output >/dev/null
rm parent.vhd child.vhd
expect_disk chain.seal chain.raw

# A last sector that is not whole.
make_random small.raw 1000
expect_exit 0 "$sealblk" import small.raw --key-file key small.seal
expect_output '^padded with 24 bytes of zeros: a disk is of whole sectors, 512 bytes each$'
cp small.raw padded.raw
truncate -s 1024 padded.raw
expect_disk small.seal padded.raw

# ---- memory ----

# 40 GiB, a page in each block of the map: none of them is uniform.
python3 - spread.raw <<'EOF'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd, 40 << 30)
for at in range(0, 40 << 30, 3 << 20):
    os.pwrite(fd, os.urandom(4096), at)
EOF
peak_mib() {
	python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)' "$@"
}
import_mib=$(peak_mib "$sealblk" import spread.raw --key-file key spread.seal)
export_mib=$(peak_mib "$sealblk" export spread.seal --key-file key --format raw spread.out)
qemu-img compare -f raw -F raw spread.raw spread.out
expect_exit 0 "$sealblk" check spread.seal --key-file key
((import_mib <= 64 && export_mib <= 64)) || fail "import took $import_mib MiB, export $export_mib MiB"
rm spread.*

# ---- refused ----

before=$(digest chain.seal)
expect_exit 1 "$sealblk" import source.raw --key-file key chain.seal
expect_output '^sealblk: image chain.seal: exists already; it was left as it is$'
expect_equal "$before" "$(digest chain.seal)"
expect_exit 2 "$sealblk" import source.raw x.seal
expect_exit 1 "$sealblk" import missing --key-file key x.seal
expect_output '^sealblk: source missing: cannot be opened'
expect_exit 1 "$sealblk" import source.raw --key-file missing x.seal
no_part x.seal
head -c 1000 fixed.vhd >cut.vhd
expect_exit 3 "$sealblk" import cut.vhd --key-file key x.seal
no_part x.seal

# ---- failures ----

# with_fault FILE WHAT ARGUMENT...: sealblk, in which a call on FILE fails or a signal comes at one;
# each thread counts its own.
with_fault() {
	local file=$1 what=$2
	shift 2
	strace -f -qq -o /dev/null -P "$TEST_DIR/$file" -e "inject=$what" "$sealblk" "$@"
}
for fault in "source.raw pread64:error=EIO:when=3" "x.seal.part pread64:error=EIO:when=3" \
	"x.seal.part pwrite64:error=ENOSPC:when=3" "x.seal.part fdatasync:error=EIO:when=3"; do
	# shellcheck disable=SC2086  # two words
	expect_exit 1 with_fault $fault import source.raw --key-file key x.seal
	expect_equal 1 "$(grep -c '^sealblk:' output)" "lines for $fault"
	[[ ! -e x.seal ]] || fail "x.seal is there after $fault"
	no_part x.seal
done

# ---- interrupted ----

expect_exit 1 with_fault source.raw pread64:signal=INT:when=3 import source.raw --key-file key x.seal
expect_output '^sealblk: copy x.seal.part: interrupted at [0-9.]+% of the disk: this file is kept'
[[ ! -e x.seal && -e x.seal.part && -e x.seal.part.json ]] || fail "nothing to go on with"
expect_exit 4 "$sealblk" import source.raw --key-file other x.seal
[[ -e x.seal.part ]] || fail "a wrong key has cost what was kept"
expect_exit 0 "$sealblk" import --json source.raw --key-file key x.seal
jq -e '.verified_bytes > 0' output >/dev/null || fail "began anew"
no_part x.seal
expect_disk x.seal source.raw

# The daemon serves what was imported.
start_daemon --socket "$TEST_DIR/s" --key-file key x.seal
qemu-img compare -q -f raw -F raw source.raw "$(nbd_uri "$TEST_DIR/s")"
stop_daemon
# Nothing is left in the runtime directory of what was given up.
folder=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) || expect_equal "" "$(ls "$folder")" "runtime directory"
