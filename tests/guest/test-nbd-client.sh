#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The kernel's NBD client, over TCP: an ext4 filesystem is made, filled, checked
# and trimmed in a guest, which is started twice; then the host asks what is
# encrypted.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need nbdinfo python3 qemu-system-x86_64
cd "$TEST_DIR"
zero=1 sealed=3	# in the map
make_key key
"$BUILD_DIR/tests/mkvhd" --size 96M base.vhd
sha256sum base.vhd >base.sum
"$sealblk" create --base base.vhd --key-file key vm.seal

# run PHASE: the daemon serves on TCP while a guest runs this part of the job.
run() {
	local port
	port=$(free_port)
	start_daemon --listen "127.0.0.1:$port" --socket "$TEST_DIR/s" --key-file key \
		--export disk=vm.seal
	run_job job-nbd-client.sh 120 "port=$port phase=$1" \
		-netdev user,id=net -device virtio-net-pci,netdev=net
	nbdinfo --map=x-sealblk:encryption "$(nbd_uri s disk)" >"map.$1"
	stop_daemon
}

# expect_state MAP STATE: of every sector range in the file "extents".
expect_state() {
	awk -v wanted="$2" '
		FNR == NR { first[++n] = $1 / 512; last[n] = ($1 + $2) / 512 - 1; state[n] = $3; next }
		{
			split($1, range, "-")
			for (i = 1; i <= n; i++) {
				if (last[i] < range[1] || first[i] > range[2] || state[i] == wanted)
					continue
				print "sectors " $1 ": " state[i] ", not " wanted
				bad = 1
			}
			ranges++
		}
		END { exit bad || !ranges }' "$1" extents || fail "not all of it is $2"
}

# The README's block, as it stands but for the address and for where the programs are.
readme_job() {
	echo '#!/bin/sh'
	echo 'set -e'
	echo 'ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0'
	readme_block nbd-client 127.0.0.1 10.0.2.2 10809 "$1" nbd-client /programs/nbd-client
}

port=$(free_port)
start_daemon --listen "127.0.0.1:$port" --key-file key vm.seal
readme_job "$port" >readme-job.sh
run_job "$TEST_DIR/readme-job.sh" 120 "port=$port" -netdev user,id=net \
	-device virtio-net-pci,netdev=net
grep -q "^$((96 * 2048))" "$guest_log" || fail "the guest does not see a disk of 96 MiB"
stop_daemon

run write_files
expect_equal "$(head -c 4M base.vhd | sha256sum | cut -d' ' -f1)" \
	"$(job_value "$guest_log" sha256)" "digest of the base's first 4 MiB in the guest"
job_value "$guest_log" sectors >extents
expect_state map.write_files "$sealed"

run trim
expect_state map.trim "$zero"
awk -v sealed="$sealed" '$3 == sealed { found = 1 } END { exit !found }' map.trim || fail "nothing is sealed"

sha256sum -c --quiet base.sum
grep -q 'GUEST PLAINTEXT' vm.seal && fail "the guest's plaintext is in the image"
"$sealblk" info vm.seal
