#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# VHDX as a base: what qemu-img wrote, logs that are to be replayed, chains, sectors
# of 4 KiB, and files that lie about themselves. Whatever happens, they stay as they are.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need nbdcopy qemu-img
mkvhdx=$BUILD_DIR/tests/mkvhdx
catbase=$BUILD_DIR/tests/catbase
cd "$TEST_DIR"
make_key key
shopt -s nullglob

# serve_and_compare BASE RAW: a new image over BASE reads as RAW, and BASE stays as it is.
serve_and_compare() {
	rm -f vm.seal copy.raw
	sha256sum "$1" ./*.vhdx >vhdxs.sum
	"$sealblk" create --base "$1" --key-file key vm.seal >create.out
	start_daemon --socket "$TEST_DIR/s" --key-file key vm.seal
	nbdcopy "$(nbd_uri s)" copy.raw
	expect_same "$2" copy.raw
	nbd_io s 'write -P 9 64k 4k' flush 'read -P 9 64k 4k'
	stop_daemon
	sha256sum -c --quiet vhdxs.sum
}

# read_and_compare BASE RAW: the same without a daemon, for the many.
read_and_compare() {
	local before
	before=$(stat -c '%s %y %z' "$1")
	"$catbase" "$1" copy.raw
	expect_same "$2" copy.raw
	expect_equal "$before" "$(stat -c '%s %y %z' "$1")" "$1"
}

# refused PATTERN BASE: in one line; nothing is left behind, and the file stays as it is.
refused() {
	local before
	before=$(stat -c '%s %y %z' "$2")
	expect_exit 3 "$sealblk" create --base "$2" --key-file key lie.seal
	expect_output "^sealblk: base $2: $1[^:]* \(byte [0-9]+[^()]*\)$"
	expect_equal 1 "$(wc -l <"$TEST_DIR/output")" "lines about $2"
	[[ ! -e lie.seal ]] || fail "$2: an image was left behind"
	expect_equal "$before" "$(stat -c '%s %y %z' "$2")" "$2"
}

echo "--- by qemu-img"
make_random part 3M
for size in 17M 40M; do
	truncate -s 0 by-qemu.raw
	truncate -s $size by-qemu.raw
	dd if=part of=by-qemu.raw bs=1M seek=5 conv=notrunc status=none
	dd if=part of=by-qemu.raw bs=512 seek=50001 count=999 conv=notrunc status=none
	for how in dynamic,block_size=1M dynamic,block_size=256M fixed; do
		qemu-img convert -O vhdx -o subformat=$how by-qemu.raw by-qemu.vhdx
		read_and_compare by-qemu.vhdx by-qemu.raw
		rm by-qemu.vhdx
	done
done
qemu-img convert -O vhdx by-qemu.raw nothing-tells
serve_and_compare nothing-tells by-qemu.raw
"$sealblk" create --base nothing-tells:vhdx --key-file key named.seal
rm by-qemu.raw nothing-tells named.seal

echo "--- what qemu-img wrote while it ran: the last header counts"
qemu-img create -q -f vhdx -o block_size=1M io.vhdx 20M
qemu-io -f vhdx -c 'write -P 7 3M 2M' -c 'write -P 8 11111k 37k' io.vhdx >io.out
qemu-img convert -f vhdx -O raw io.vhdx io.raw
read_and_compare io.vhdx io.raw
rm io.*

echo "--- all states of blocks, sectors of 4 KiB, disks that end inside a block"
seed=1
for sector in 512 4096; do
	for size in $((12 << 20)) $(((5 << 20) + 4096)); do
		"$mkvhdx" --size $size --sector $sector --seed $((++seed)) own.vhdx own.raw
		read_and_compare own.vhdx own.raw
		rm own.*
	done
done
"$mkvhdx" --size $((20 << 20)) --block $((8 << 20)) --fixed own.vhdx own.raw
read_and_compare own.vhdx own.raw
qemu-img compare -q -f vhdx -F raw own.vhdx own.raw
rm own.*

echo "--- a log to be replayed"
for how in replay wrap torn-last append; do
	"$mkvhdx" --size $((8 << 20)) --seed $((++seed)) --log $how log.vhdx log.raw
	read_and_compare log.vhdx log.raw
	if [[ $how == append ]]; then
		serve_and_compare log.vhdx log.raw
	fi
	# QEMU replays it into the file, so into a copy; it follows neither of the other two.
	cp log.vhdx copy-of-log
	if [[ $how == replay || $how == torn-last ]]; then
		qemu-img check -q -r all -f vhdx copy-of-log
		qemu-img compare -q -f vhdx -F raw copy-of-log log.raw
	fi
	rm log.* copy-of-log
done

echo "--- chains"
for sector in 512 4096; do
	"$mkvhdx" --size $((12 << 20)) --sector $sector --seed 11 bottom.vhdx disk.raw
	cp disk.raw bottom.raw
	"$mkvhdx" --size $((12 << 20)) --sector $sector --parent bottom.vhdx --seed 12 middle.vhdx disk.raw
	"$mkvhdx" --size $((14 << 20)) --sector $sector --parent middle.vhdx --seed 13 --absolute top.vhdx disk.raw
	read_and_compare top.vhdx disk.raw
	cp disk.raw last.raw
	"$mkvhdx" --size $((14 << 20)) --sector $sector --parent top.vhdx --seed 14 --log replay last.vhdx last.raw
	read_and_compare last.vhdx last.raw
	rm -f last.vhdx
done
serve_and_compare top.vhdx disk.raw

echo "--- chains by chance"
RANDOM=${SEED:=$RANDOM}
echo "SEED=$SEED"

# by_chance NAME [OPTION]...: of a random seed and block size, perhaps with a log.
by_chance() {
	local name=$1 log=()
	shift
	((RANDOM % 3)) || log=(--log replay)
	"$mkvhdx" --size "$size" --sector "$sector" --block $((1 << (20 + RANDOM % 4))) \
		--seed $((RANDOM % 250)) "${log[@]}" "$@" "$name.vhdx" chance.raw
}

for ((i = 0; i < ${SEALBLK_LONG:+40} + 3; i++)); do
	sector=$((RANDOM % 2 ? 512 : 4096))
	size=$(((1 << 20) + RANDOM % 4000 * 4096))
	by_chance chance0
	by_chance chance1 --parent chance0.vhdx
	by_chance chance2 --parent chance1.vhdx
	read_and_compare chance2.vhdx chance.raw
	rm chance*
done

echo "--- a parent that changed, or is gone, at the next start"
"$sealblk" create --base top.vhdx --key-file key chain.seal
cp -p bottom.vhdx saved
flip_byte bottom.vhdx $(($(stat -c %s bottom.vhdx) - 5000))
expect_exit 3 "$sealblkd" --socket s --key-file key chain.seal
expect_output 'base .*bottom.vhdx: has changed: content differs'
cp -p saved bottom.vhdx
mv middle.vhdx elsewhere
expect_exit 3 "$sealblkd" --socket s --key-file key chain.seal
expect_output 'base .*top.vhdx: its parent .*middle.vhdx is missing'
mv elsewhere middle.vhdx
"$mkvhdx" --size $((12 << 20)) --sector 4096 --seed 21 bottom.vhdx other.raw
expect_exit 3 "$sealblk" create --base top.vhdx --key-file key lie.seal
expect_output 'base .*/bottom.vhdx: is not the parent of .*middle.vhdx, or has changed since'

echo "--- logs that cannot be replayed"
while read -r how text; do
	"$mkvhdx" --size $((3 << 20)) --log "$how" "$how.vhdx" lie.raw
	refused "$text" "$how.vhdx"
	expect_exit 3 "$sealblk" vhd info "$how.vhdx"
	expect_output "^sealblk: file $how.vhdx: $text"
	rm "$how.vhdx"
done <<'END'
torn VHDX log entry is torn: a data sector is not its own
checksum VHDX log entry's checksum is wrong
id VHDX log entry has another log GUID than the header
empty VHDX log is to be replayed, but has no entry
tail VHDX log is to be replayed, but its oldest entry is missing
cut file has been cut: by its VHDX log it was longer
payload VHDX log would change data of the disk
headers VHDX log entry would change the headers
descriptor VHDX log entry has an unsound descriptor
END

echo "--- lies; the unit tests have all of them"
while read -r lie text; do
	"$mkvhdx" --size $((3 << 20)) --lie "$lie" "$lie.vhdx" lie.raw
	refused "$text" "$lie.vhdx"
	rm "$lie.vhdx"
done <<'END'
signature there is no VHDX signature
header neither VHDX header is sound
regions-overlap VHDX region overlaps another, or the log
item-unknown VHDX metadata has an unknown item that is required
block-huge VHDX block size is no power of two
bat-short VHDX block allocation table is too short for the disk
block-outside VHDX block is not inside the file
blocks-overlap VHDX block overlaps another
partial VHDX block is present in part, but there is no parent
END
"$mkvhdx" --size $((3 << 20)) --seed 31 parent.vhdx lie.raw
"$mkvhdx" --size $((3 << 20)) --parent parent.vhdx --lie locator-type lie.vhdx lie.raw
refused 'VHDX has a parent of a kind that is not known' lie.vhdx
printf vhdxfile >short.vhdx
refused 'the file is too short for a VHDX' short.vhdx
