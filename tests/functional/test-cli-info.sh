#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk info and map: what they say of an image that nobody serves, that a
# daemon serves, that a daemon died over, and that is damaged.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-img qemu-io nbdinfo python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_base base.vhd fixed 8
"$sealblk" create --base base.vhd --size 64M --key-file key image.seal

info() {
	"$sealblk" info --json image.seal | jq -r "$1"
}

counts() {
	info '.sectors | "\(.base) \(.zero) \(.plain) \(.sealed)"'
}

is_server_encrypted() {
	[[ $(info .server_encrypted) == true ]]
}

# The map's extents as "offset length state".
extents() {
	"$sealblk" map --json image.seal | jq -r '.extents[] | "\(.offset_bytes) \(.length_bytes) \(.state)"'
}

# The same, as the text of map and as nbdinfo tell it.
extents_of_text() {
	"$sealblk" map image.seal | awk 'NR > 1 { print $3, $4, $5 }'
}

extents_of_nbdinfo() {
	nbdinfo --map=x-sealblk:encryption "$(nbd_uri "$socket")" |
		awk 'BEGIN { split("base zero plain sealed", name, " ") } { print $1, $2, name[$3 + 1] }'
}

write() {
	local args=() command
	for command; do args+=(-c "$command"); done
	qemu-io -f raw -d unmap "${args[@]}" "$(nbd_uri "$socket")" >>qemu-io.log
}

# ---- fresh: half of the base is data, its other half and all behind it is not ----
expect_equal '8192 122880 0 0' "$(counts)" counts
expect_equal "$(printf '0 4194304 base\n4194304 62914560 zero')" "$(extents)" extents
expect_equal "$(extents)" "$(extents_of_text)" "extents of the text"
expect_equal false "$(info .server_encrypted)" server_encrypted
expect_equal 67108864 "$("$sealblk" map --json image.seal | jq .disk_bytes)"
"$sealblk" info image.seal >text
grep -Eq '^state +clean$' text || fail "the text does not say clean"
grep -Eq '^server encrypted no$' text || fail "the text does not say server encrypted"
grep -Eq '^disk +64 MiB \(67108864 bytes\)$' text || fail "the text does not say the size"

# Reports may run side by side.
"$sealblk" info image.seal >/dev/null & first=$!
"$sealblk" info image.seal >/dev/null
wait "$first"

# ---- served: the daemon is asked --------------------------------------------------
start_daemon --socket "$socket" --key-file key image.seal
expect_equal 'in use' "$(info .state)" state
write 'write -P 1 0 64k' 'write -P 2 1048064 1024' 'write -P 3 60M 1M' 'discard 2M 1M' \
	'write -P 4 61M 4k' 'discard 61M 4k'
expect_equal '6014 122880 0 2178' "$(counts)" "counts of the daemon"
extents >served
grep -qx '1048064 1024 sealed' served || fail "the two sectors are not there"
grep -qx '2097152 1048576 zero' served || fail "the discarded MiB is not there"
grep -qx '4194304 58720256 zero' served || fail "neighbours in one state are not joined"
expect_equal "$(extents_of_nbdinfo)" "$(cat served)" "nbdinfo and sealblk map"
expect_equal "$(extents_of_text)" "$(cat served)" "extents of the daemon's text"
expect_equal false "$(info .server_encrypted)" server_encrypted

# ---- closed: the file says the same -----------------------------------------------
stop_daemon
expect_equal clean "$(info .state)" state
extents >closed
expect_same served closed

# ---- every sector sealed or zero --------------------------------------------------
start_daemon --socket "$socket" --key-file key image.seal
write 'write -P 5 0 8M'
expect_equal '0 112640 0 18432' "$(counts)" "counts without base"
write flush
wait_for 10 is_server_encrypted || fail "not server encrypted"
stop_daemon
expect_equal true "$(info .server_encrypted)" "server_encrypted, closed"

# ---- a daemon that died -----------------------------------------------------------
start_daemon --socket "$socket" --key-file key image.seal
write 'write -P 6 10M 1M'
kill_daemon
expect_exit 0 "$sealblk" info image.seal
expect_output 'not closed cleanly'
expect_exit 0 "$sealblk" map image.seal
expect_output 'not closed cleanly'
expect_equal unclean "$(info .state)" state
expect_equal false "$(info .server_encrypted)" "server_encrypted, unclean"
start_daemon --socket "$socket" --key-file key image.seal
expect_equal '0 110592 0 20480' "$(counts)" "counts after recovery"
stop_daemon

# ---- in use, and nobody to ask ----------------------------------------------------
# exec: the process that is killed at the end holds the lock.
exec 3< <(exec python3 -u -c '
import fcntl, struct, sys, time
f = open(sys.argv[1], "r+b")
fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
print("locked")
time.sleep(600)' image.seal)
locker=$!
own_pid "$locker"
read -r line <&3
expect_equal locked "$line"
expect_exit 1 "$sealblk" info image.seal
expect_output '^sealblk: image image\.seal: is in use, but no daemon answers'
expect_equal 1 "$(wc -l <output)" "lines printed"
kill "$locker"
wait "$locker" || true
disown_pid "$locker"

# ---- the base is gone, or another -------------------------------------------------
"$sealblk" create --base base.vhd --key-file key based.seal
mv base.vhd away.vhd
expect_equal 'false 16384 0' "$("$sealblk" info --json based.seal |
	jq -r '"\(.base.found) \(.sectors.base) \(.sectors.zero)"')" "without the base"
expect_exit 0 "$sealblk" info based.seal
expect_output 'base\.vhd: is missing'
cp away.vhd base.vhd
expect_equal 8192 "$("$sealblk" info --json based.seal | jq .sectors.base)" "with a copy"
truncate -s +512 base.vhd
expect_exit 0 "$sealblk" info based.seal
expect_output 'base\.vhd: '
expect_equal false "$("$sealblk" info --json based.seal | jq .base.found)" "another size"

# ---- damage -----------------------------------------------------------------------
# damage FILE OFFSET: one byte becomes another.
damage() {
	python3 -c '
import sys
f = open(sys.argv[1], "r+b"); at = int(sys.argv[2])
f.seek(at); byte = f.read(1)[0]
f.seek(at); f.write(bytes([byte ^ 0xff]))' "$@"
}

# The superblock, keyring and names, first copy and second: one is survived, both are not.
for places in '100 65636' '131172 196708' '262244 327780'; do
	read -r first second <<<"$places"
	cp image.seal damaged.seal
	damage damaged.seal "$first"
	expect_exit 0 "$sealblk" info damaged.seal
	expect_output '1 damaged copies'
	damage damaged.seal "$second"
	expect_exit 3 "$sealblk" info damaged.seal
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_exit 3 "$sealblk" map damaged.seal
done

# Of a map block: its sectors are damaged, the rest is still told. The map of this
# image begins at 2 MiB. info reads no map block, until somebody has found one damaged.
mv away.vhd base.vhd
cp image.seal damaged.seal
damage damaged.seal $((2 * 1024 * 1024 + 200))
damage_of() {
	"$sealblk" info --json damaged.seal |
		jq -r '"\(.damaged_blocks) \(.sectors.damaged) \(.server_encrypted)"'
}
expect_equal '0 0 true' "$(damage_of)" "a damaged block that nobody has looked at"
start_daemon --socket "$socket" --key-file key damaged.seal
expect_equal '0 0 true' "$(damage_of)" "a damaged block, served"
qemu-io -f raw -c 'read 1M 512' "$(nbd_uri "$socket")" >read.out 2>&1 || true
grep -q 'Input/output error' read.out || fail "the damaged block can be read"
expect_equal '1 7936 false' "$(damage_of)" "a damaged block that was found"
stop_daemon
expect_equal '0 4063232 damaged' "$("$sealblk" map --json damaged.seal |
	jq -r '.extents[0] | "\(.offset_bytes) \(.length_bytes) \(.state)"')"
