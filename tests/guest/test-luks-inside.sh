#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Both encryptions: a guest puts LUKS inside the served disk. The disk then begins with a LUKS
# header, the image shows neither that nor what is in the guest's files, and a second guest reads
# the files back.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need cryptsetup jq nbdinfo python3 qemu-img qemu-system-x86_64 xxd
cd "$TEST_DIR"
guest_programs=(cryptsetup)
pass=$(head -c 16 /dev/urandom | xxd -p)
make_key key
"$sealblk" create --size 64M --key-file key vm.seal

# run PHASE: the daemon serves while a guest runs this part of the job; the disk's bytes go to "disk".
run() {
	local port
	port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
	start_daemon --listen "127.0.0.1:$port" --socket "$TEST_DIR/s" --key-file key \
		--export disk=vm.seal
	run_job job-luks-inside.sh 180 "port=$port phase=$1 pass=$pass" \
		-netdev user,id=net -device virtio-net-pci,netdev=net
	[[ $(job_value "$guest_log" found) -gt 0 ]] || fail "the guest cannot find its own plaintext"
	qemu-img convert -f raw -O raw "$(nbd_uri s disk)" disk
	stop_daemon
}

# count_in FILE PATTERN: lines with it.
count_in() {
	LC_ALL=C grep -acF -- "$2" "$1" || true
}

run write_files
uuid=$(job_value "$guest_log" uuid)
digest=$(job_value "$guest_log" digest)
[[ $uuid && $digest ]] || fail "the guest has not said what it wrote"

# ---- what NBD shows: LUKS, and not what is in it --------------------------------
expect_equal 4c554b53babe0002 "$(head -c 8 disk | xxd -p)" "the first bytes of the disk"
cryptsetup isLuks disk || fail "the disk is not LUKS"
luks_header=($'LUKS\xba\xbe' "$uuid" '"keyslots"')
for pattern in "${luks_header[@]}"; do
	[[ $(count_in disk "$pattern") -gt 0 ]] || fail "the disk has not $pattern"
done
expect_equal 0 "$(count_in disk 'GUEST PLAINTEXT')" "places with the guest's plaintext on the disk"

# ---- what the image shows: neither ----------------------------------------------
for pattern in "${luks_header[@]}" 'GUEST PLAINTEXT'; do
	expect_equal 0 "$(count_in vm.seal "$pattern")" "places with $pattern in the image"
done
"$sealblk" info --json vm.seal >told.json
jq -e '.sectors.sealed > 8000 and .sectors.plain == 0 and .sectors.base == 0 and
	.server_encrypted' told.json >/dev/null || { cat told.json; fail "not all of it is sealed"; }

# ---- read back ------------------------------------------------------------------
run read_files
expect_equal "$digest" "$(job_value "$guest_log" digest)" "digest of the guest's file"
