#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# encrypt and rekey of disks of any kind and size: over chains of VHDs, over a base of
# their own, of sizes that no map block divides, live and alone; and on a file system
# that is full, where they wait, and go on when there is space again.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq nbdcopy qemu-io qemu-img
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
make_layer=$BUILD_DIR/tests/mkvhdlayer
reader=$SRC_DIR/tests/tools/read_image.py
make_key key
mounted=''

cleanup_mount() {
	local pid
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	[[ ! $mounted ]] || umount "$TEST_DIR/disk"
}
trap 'status=$?; set +e; cleanup_mount; (exit $status); cleanup' EXIT

serve() {
	start_daemon --socket "$socket" --workers 2 --key-file key "$@"
}

# run VERB IMAGE [here]: to its end, by a daemon or where nobody serves it.
run() {
	[[ ${3:-} ]] || serve "$2"
	if [[ $1 == encrypt && ! ${3:-} ]]; then
		"$sealblk" encrypt "$2" >said
	else
		"$sealblk" "$1" --key-file key "$2" >said
	fi
	[[ ${3:-} ]] || stop_daemon
}

# expect_sealed IMAGE RAW: no base, nothing but sealed and zero, and it reads as RAW, also by a
# reader that knows the format's description only.
expect_sealed() {
	expect_equal 'null true' "$("$sealblk" info --json "$1" | jq -c '.base, .server_encrypted' | tr '\n' ' ' |
		sed 's/ $//')" "$1: base and server_encrypted"
	"$reader" "$1" --key-file key --map >map
	! grep -Ev ' (sealed|zero)$' map || fail "$1: a sector is neither sealed nor zero"
	"$reader" "$1" --key-file key --read 0 0 >read.raw
	expect_same "$2" read.raw
	"$sealblk" check --key-file key "$1" >said
	serve "$1"
	nbdcopy "$(nbd_uri "$socket")" copy.raw
	expect_same "$2" copy.raw
	stop_daemon
}

# ---- bases ------------------------------------------------------------------------
"$make_layer" --size $((12 << 20)) --seed 1 bottom.vhd bottom.raw
cp bottom.raw top.raw
"$make_layer" --parent bottom.vhd --seed 2 middle.vhd top.raw
"$make_layer" --parent middle.vhd --seed 3 top.vhd top.raw
sha256sum ./*.vhd >vhds.sum
for here in '' here; do
	for base in bottom top; do
		"$sealblk" create --base $base.vhd --key-file key disk.seal >said
		run encrypt disk.seal $here
		sha256sum -c --quiet vhds.sum
		mkdir away
		mv ./*.vhd away
		expect_sealed disk.seal $base.raw
		run rekey disk.seal $here
		expect_sealed disk.seal $base.raw
		mv away/*.vhd .
		rmdir away
		rm disk.seal
		echo "- $base, ${here:-live}"
	done
	# A base of its own is empty at the end.
	make_base own.vhd fixed 4
	"$sealblk" create --base own.vhd --own-base --key-file key disk.seal >said
	run encrypt disk.seal $here
	cmp -n $((4 << 20)) own.vhd /dev/zero || fail "plaintext is left in the base"
	rm own.vhd
	expect_sealed disk.seal own.vhd.raw
	rm disk.seal
	echo "- a base of its own, ${here:-live}"
done

# ---- sizes ------------------------------------------------------------------------
# A map block has 7936 sectors, a piece 2048.
for sectors in 1 2049 7936 7937 15873; do
	make_random base.raw $((sectors * 512))
	for here in '' here; do
		"$sealblk" create --base base.raw --size $((sectors * 512)) --key-file key disk.seal >said
		run encrypt disk.seal $here
		expect_sealed disk.seal base.raw
		run rekey disk.seal $here
		expect_sealed disk.seal base.raw
		rm disk.seal
	done
	echo "- $sectors sectors"
done
# Past the end of a shorter base; nothing at all; a base of holes.
make_random base.raw $((7000 * 512))
"$sealblk" create --base base.raw --size $((16001 * 512)) --key-file key disk.seal >said
run encrypt disk.seal
truncate -s $((16001 * 512)) base.raw
expect_sealed disk.seal base.raw
rm disk.seal base.raw
truncate -s $((7937 * 512)) base.raw
for base in '' base.raw; do
	"$sealblk" create ${base:+--base "$base"} --size $((7937 * 512)) --key-file key disk.seal >said
	run encrypt disk.seal
	run rekey disk.seal
	run encrypt disk.seal here
	run rekey disk.seal here
	expect_sealed disk.seal base.raw
	rm disk.seal
done

# ---- a damaged map block: nobody knows what its sectors are, so nothing ends -----------
# what_is_kept: all that would be needed to save them.
what_is_kept() {
	"$sealblk" info --json disk.seal | jq -c '.base.path, [.planes[] | .key_id]' | tr '\n' ' '
}

has_met_damage() { # VERB
	[[ $("$sealblk" "$1" status --json disk.seal | jq -r .problem) == 'Input/output error' ]]
}

make_random base.raw 16M
"$sealblk" create --base base.raw --key-file key disk.seal >said
serve disk.seal
nbd_io "$socket" 'write -P 7 0 12M'
stop_daemon
# Both slots of block 2; the map begins at 2 MiB.
flip_byte disk.seal $(((2 << 20) + 2 * 8192 + 200)) $(((2 << 20) + 2 * 8192 + 4096 + 200))
for verb in encrypt rekey; do
	expect_exit 1 "$sealblk" $verb --key-file key disk.seal
	expect_output '^sealblk: image disk\.seal: [0-9]+ bytes could not be rewritten: Input/output error'
	kept=$(what_is_kept)
	serve disk.seal
	expect_equal running "$("$sealblk" $verb status --json disk.seal | jq -r .$verb)" "$verb"
	wait_for 5 has_met_damage $verb || fail "$verb tells of no damage"
	sleep 12 # it tries again, twice
	has_met_damage $verb || fail "$verb tells of no damage any more"
	expect_equal running "$("$sealblk" $verb status --json disk.seal | jq -r .$verb)" "$verb, 12 s later"
	expect_equal "$kept" "$(what_is_kept)" "base and keys"
	"$sealblk" $verb pause disk.seal
	nbd_io "$socket" 'read -P 7 0 7M'
	stop_daemon
done
expect_equal '"base.raw" [3,4] ' "$kept" "base and keys"
rm disk.seal

# ---- no space ----------------------------------------------------------------------
((EUID == 0)) || { echo "left out: a full file system needs root, to be mounted"; exit 0; }
mkdir disk
mount -t tmpfs -o size=64M none disk || { echo "left out: no tmpfs can be mounted here"; exit 0; }
mounted=1

has_failed() {
	[[ $("$sealblk" rekey status --json disk/disk.seal | jq -r .problem) == 'No space left on device' ]]
}

is_done() {
	[[ $("$sealblk" rekey status --json disk/disk.seal | jq -r .rekey) == none ]]
}

# fill_but KIB: a file that leaves so much.
fill_but() {
	rm -f disk/filler
	fallocate -l $(($(stat -f -c '%a * %S' disk) - $1 * 1024)) disk/filler
}

make_random base.raw 16M
"$sealblk" create --base base.raw --key-file key disk/disk.seal >said
run encrypt disk/disk.seal
fill_but 64
serve disk/disk.seal
"$sealblk" rekey --key-file key disk/disk.seal >follower.out 2>&1 &
follower=$!
own_pid $follower
wait_for 10 has_failed || fail "status tells of no problem: $("$sealblk" rekey status disk/disk.seal)"
expect_exit 0 "$sealblk" rekey status disk/disk.seal
expect_output 'rekey: running, .*[0-9.]+ [KM]iB could not be moved: No space left on device$'
nbdcopy "$(nbd_uri "$socket")" copy.raw
expect_same base.raw copy.raw
expect_equal false "$("$sealblk" info --json disk/disk.seal | jq .writes_failed)" "writes_failed"
kill_daemon
wait $follower || true
disown_pid $follower
serve disk/disk.seal
nbdcopy "$(nbd_uri "$socket")" copy.raw
expect_same base.raw copy.raw
wait_for 10 has_failed || fail "after kill -9 status tells of no problem"
rm disk/filler
wait_for 30 is_done || fail "it does not go on: $("$sealblk" rekey status disk/disk.seal)"
stop_daemon
expect_sealed disk/disk.seal base.raw

fill_but 64
expect_exit 1 "$sealblk" rekey --key-file key disk/disk.seal
expect_output '^sealblk: image disk/disk\.seal: [0-9]+ bytes could not be rewritten: No space left on device; all data is where it was, ask again to go on$'
expect_equal 1 "$(wc -l <output)" "lines printed"
rm disk/filler
expect_exit 0 "$sealblk" rekey --key-file key disk/disk.seal
expect_sealed disk/disk.seal base.raw
