#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk convert: the same disk in another format; whole, or not there, or gone on with.
. "$(dirname "$0")/../lib.sh"
need qemu-img jq strace
cd "$TEST_DIR"
mkvhdlayer=$BUILD_DIR/tests/mkvhdlayer

# expect_disk FILE RAW: FILE, a VHD, has the disk in RAW, and zeros behind it.
expect_disk() {
	qemu-img compare -q -f vpc -F raw "$1" "$2" || fail "$1 is not the disk in $2"
}

# no_part DEST: nothing of an unfinished run is left.
no_part() {
	[[ ! -e $1.part && ! -e $1.part.json ]] || fail "something is left of $1"
}

# 40 MiB: data, a hole, zeros that are stored, data that ends amid a page.
make_random source.raw $((5 * 1024 * 1024 + 512))
dd if=/dev/zero of=source.raw bs=1M seek=20 count=4 conv=notrunc status=none
head -c 3000000 /dev/urandom | dd of=source.raw bs=1M seek=30 conv=notrunc status=none
truncate -s 40M source.raw

# ---- formats ----

expect_exit 0 "$sealblk" convert source.raw fixed.vhd
expect_output '^converted source.raw to fixed.vhd: fixed VHD, disk of 40 MiB \(41943040 bytes\); .* stored'
expect_equal $((40 * 1024 * 1024 + 512)) "$(stat -c %s fixed.vhd)"
expect_disk fixed.vhd source.raw
no_part fixed.vhd
"$sealblk" vhd info --json fixed.vhd >info.json
expect_equal "true win" "$(jq -r '"\(.azure.accepted) \(.footer.creator)"' info.json)"
# The hole stays one, and the zeros become one.
(($(stat -c %b fixed.vhd) * 512 < 9 * 1024 * 1024)) || fail "fixed.vhd is not sparse"

expect_exit 0 "$sealblk" convert --format vhd-dynamic fixed.vhd dynamic.vhd
expect_disk dynamic.vhd source.raw
(($(stat -c %s dynamic.vhd) < 13 * 1024 * 1024)) || fail "dynamic.vhd stores too much"
"$sealblk" vhd info dynamic.vhd | grep -q '^verdict *sound'
expect_exit 0 "$sealblk" convert dynamic.vhd again.raw
expect_same source.raw again.raw
expect_exit 0 "$sealblk" convert dynamic.vhd again.img
expect_same source.raw again.img
expect_exit 0 "$sealblk" convert --format raw fixed.vhd copy
expect_same source.raw copy
# What the name says is not asked of a file whose format is given.
expect_exit 0 "$sealblk" convert fixed.vhd:raw whole.raw
expect_same fixed.vhd whole.raw

# A differencing VHD and its parent.
"$mkvhdlayer" --size $((24 << 20)) --seed 1 parent.vhd chain.raw
"$mkvhdlayer" --size $((24 << 20)) --seed 2 --parent parent.vhd child.vhd chain.raw
expect_exit 0 "$sealblk" convert child.vhd flat.vhd
expect_disk flat.vhd chain.raw
expect_exit 1 "$sealblk" convert --force child.vhd parent.vhd
expect_output 'destination parent.vhd: is the source itself'

# ---- sizes ----

make_random odd.raw $((21 * 1024 * 1024 + 700))
expect_exit 0 "$sealblk" convert odd.raw odd.vhd
expect_output "^padded with $((1024 * 1024 - 700)) bytes of zeros: Azure takes whole MiB, and 20 at least$"
expect_disk odd.vhd odd.raw
expect_equal true "$("$sealblk" vhd info --json odd.vhd | jq .azure.accepted)"
expect_exit 0 "$sealblk" convert --json --format vhd-dynamic odd.raw odd-dynamic.vhd
expect_equal "324 $((21 * 1024 * 1024 + 1024))" "$(jq -r '"\(.padding_bytes) \(.disk_bytes)"' output)"
make_random small.raw 1000
expect_exit 0 "$sealblk" convert small.raw sectors.raw
expect_output '^padded with 24 bytes of zeros: a disk is of whole sectors, 512 bytes each$'
expect_exit 0 "$sealblk" convert small.raw small.vhd
expect_equal $((20 * 1024 * 1024 + 512)) "$(stat -c %s small.vhd)"
truncate -s 2041G large.raw
expect_exit 1 "$sealblk" convert --format vhd-dynamic large.raw large.vhd
expect_output 'a dynamic VHD has a disk of 2040 GiB at most'
no_part large.vhd
expect_exit 0 "$sealblk" convert large.raw large.vhd
expect_equal $((2041 << 30)) "$("$sealblk" vhd info --json large.vhd | jq .disk_bytes)"
rm large.*

# ---- progress ----

expect_exit 0 "$sealblk" convert --json --progress always source.raw json.vhd
jq -es 'last | .event == "done" and .source == "source.raw" and .padding_bytes == 0' output >/dev/null

# ---- refused ----

before=$(digest fixed.vhd)
expect_exit 1 "$sealblk" convert source.raw fixed.vhd
expect_output '^sealblk: destination fixed.vhd: exists already; it was left as it is$'
expect_equal "$before" "$(digest fixed.vhd)"
expect_exit 0 "$sealblk" convert --force odd.raw fixed.vhd
expect_disk fixed.vhd odd.raw
mkdir folder
expect_exit 1 "$sealblk" convert --force source.raw folder
expect_output 'destination folder: is not a file'
expect_exit 1 "$sealblk" convert --force source.raw source.raw
expect_output 'is the source itself'
expect_exit 1 "$sealblk" convert missing.raw x.vhd
expect_output '^sealblk: source missing.raw: cannot be opened: No such file'
expect_exit 1 "$sealblk" convert source.raw missing/x.vhd
expect_output '^sealblk: destination missing/x.vhd: cannot be made: No such file'
expect_exit 2 "$sealblk" convert source.raw
expect_exit 2 "$sealblk" convert source.raw x.vhd y.vhd
expect_exit 2 "$sealblk" convert source.raw x.vhdx
expect_output 'VHDX is read, but not written'
expect_exit 2 "$sealblk" convert --format qcow2 source.raw x.vhd
for lie in header block-size geometry bat-short bat-long bat-outside bat-on-header \
	block-on-header block-on-bat block-on-footer block-outside blocks-overlap; do
	"$mkvhdlayer" --size $((8 << 20)) --lie "$lie" lie.vhd lie.raw
	expect_exit 3 "$sealblk" convert lie.vhd x.vhd
	expect_output '^sealblk: source lie.vhd: '
	expect_equal 1 "$(wc -l <output)" "lines for $lie"
	[[ ! -e x.vhd ]] || fail "$lie was converted"
	no_part x.vhd
done
head -c 1000 fixed.vhd >cut.vhd
expect_exit 3 "$sealblk" convert cut.vhd x.vhd

# ---- failures ----

# with_fault WHAT ARGUMENT...: sealblk, in which a system call fails or a signal comes; each thread
# counts its own. Of reads, those of source.raw count.
with_fault() {
	local what=$1 path=()
	shift
	[[ $what == pread64* ]] && path=(-P "$TEST_DIR/source.raw")
	strace -f -qq -o /dev/null ${path+"${path[@]}"} -e "inject=$what" "$sealblk" "$@"
}
for fault in pread64:error=EIO:when=3 pwrite64:error=EIO:when=2 pwrite64:error=ENOSPC:when=2 \
	fsync:error=EIO:when=2 renameat2:error=EIO; do
	expect_exit 1 with_fault "$fault" convert source.raw x.vhd
	expect_output '^sealblk: (source source.raw|destination x.vhd): cannot be .*: (Input/output|No space)'
	expect_equal 1 "$(wc -l <output)" "lines for $fault"
	[[ ! -e x.vhd ]] || fail "x.vhd is there after $fault"
	no_part x.vhd
done
# A short count is no end, and the destination that is there stays.
before=$(digest fixed.vhd)
expect_exit 1 with_fault pwrite64:error=EIO:when=2 convert --force source.raw fixed.vhd
expect_equal "$before" "$(digest fixed.vhd)"
no_part fixed.vhd

# ---- interrupted ----

for format in vhd vhd-dynamic raw; do
	rm -f x.vhd
	expect_exit 1 with_fault pwrite64:signal=INT:when=1 convert --format $format source.raw x.vhd
	expect_output '^sealblk: copy x.vhd.part: interrupted at [0-9.]+% of the disk: this file is kept'
	[[ ! -e x.vhd && -e x.vhd.part && -e x.vhd.part.json ]] || fail "nothing to go on with"
	expect_exit 1 with_fault pwrite64:signal=TERM:when=1 convert --format $format source.raw x.vhd
	expect_exit 0 "$sealblk" convert --json --format $format source.raw x.vhd
	no_part x.vhd
	jq -e '.verified_bytes > 0 and .written_bytes > 0' output >/dev/null || fail "began anew"
	if [[ $format == raw ]]; then expect_same source.raw x.vhd; else expect_disk x.vhd source.raw; fi
done

# What was kept is compared: a byte that has changed since is put right.
rm -f x.vhd
expect_exit 1 with_fault pwrite64:signal=INT:when=1 convert source.raw x.vhd
flip_byte x.vhd.part 1000
expect_exit 0 "$sealblk" convert source.raw x.vhd
expect_disk x.vhd source.raw

# ... and where the source has a hole nothing stays of what is there.
rm -f x.vhd
truncate -s 40M holes.raw
head -c 20M /dev/urandom | dd of=holes.raw bs=1M seek=4 conv=notrunc status=none
expect_exit 1 with_fault pwrite64:signal=INT:when=1 convert holes.raw x.vhd
printf garbage | dd of=x.vhd.part bs=1 seek=1000000 conv=notrunc status=none
expect_exit 0 "$sealblk" convert holes.raw x.vhd
expect_disk x.vhd holes.raw

# Another source, or the same with another content: from the beginning, and said so.
rm -f x.vhd
cp source.raw changing.raw
expect_exit 1 with_fault pwrite64:signal=INT:when=1 convert changing.raw x.vhd
flip_byte changing.raw 100
expect_exit 0 "$sealblk" convert changing.raw x.vhd
expect_output 'begun anew'
expect_disk x.vhd changing.raw

# Changed while it is read: refused.
rm -f x.vhd
strace -f -qq -o /dev/null -P "$TEST_DIR/changing.raw" \
	-e inject=pread64:delay_enter=500000:when=2 "$sealblk" convert changing.raw x.vhd >late 2>&1 &
pid=$!
own_pid $pid
wait_for 10 test -e x.vhd.part
flip_byte changing.raw 200
wait $pid && fail "a source that changed was converted"
disown_pid $pid
grep -q '^sealblk: source changing.raw: has changed while it was read' late
[[ ! -e x.vhd ]] || fail "x.vhd is there"
no_part x.vhd

# A file that only happens to be called so is not touched.
echo precious >x.vhd.part
expect_exit 1 "$sealblk" convert source.raw x.vhd
expect_output 'destination x.vhd.part: is in the way'
expect_equal precious "$(cat x.vhd.part)"
rm x.vhd.part

# Nobody else writes it meanwhile.
expect_exit 1 with_fault pwrite64:signal=INT:when=1 convert source.raw x.vhd
qemu-io -f raw -c 'sleep 1500' x.vhd.part >/dev/null &
own_pid $!
sleep 0.3
expect_exit 1 "$sealblk" convert source.raw x.vhd
expect_output 'destination x.vhd.part: is being written by another program'
