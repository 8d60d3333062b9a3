#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Two machines boot from firmware to Debian, at the same time and from one base
# VHD, each over an image of its own; what they write is there at the next boot,
# and nowhere readable in the images or in the base.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need e2fsck nbdcopy qemu-system-x86_64 xxd
boot_s=420
lines=20000	# as debian-marker.sh writes them
root_offset=$((33 << 20))	# as build-debian.sh lays out the disk
keep debian build-debian.sh debian-marker.sh
cd "$TEST_DIR"
base=$guest_dir/debian/debian.vhd
make_key key
sha256sum "$base" >base.sum
declare -A pattern console pid
for vm in vm1 vm2; do
	"$sealblk" create --base "$base" --key-file key $vm.seal
	pattern[$vm]=$(head -c 16 /dev/urandom | xxd -p)
done

# boot VM SOCKET: starts the machine.
boot() {
	local vm=$1
	start_guest "console.$vm" -m 384 -smbios "type=1,serial=${pattern[$vm]}" \
		-drive "file=$(nbd_uri "$2" "$vm"),format=raw,if=virtio"
	pid[$vm]=$guest_pid console[$vm]=$guest_log
}

# finish VM: waits until it has switched itself off.
finish() {
	wait_guest "${pid[$1]}" "${console[$1]}" $boot_s
	echo "--- console of $1:"
	tr -d '\r' <"${console[$1]}"
}

# ---- first boot: one daemon, two exports ----------------------------------------
start_daemon --socket "$TEST_DIR/s" --key-file key --export vm1=vm1.seal --export vm2=vm2.seal
boot vm1 "$TEST_DIR/s"
boot vm2 "$TEST_DIR/s"
for vm in vm1 vm2; do
	finish $vm
	expect_equal "${pattern[$vm]}" "$(job_value "${console[$vm]}" written)" "what $vm wrote"
done
stop_daemon

# ---- second boot: a daemon for each, and the README's command line ---------------
# boot_as_readme VM SOCKET: starts the machine.
boot_as_readme() {
	local vm=$1 command
	eval "command=($(readme_block qemu /run/vm.sock "$2"))"
	# shellcheck disable=SC2128  # it is an array since the eval
	expect_equal qemu-system-x86_64 "$command" "what the block starts"
	start_guest "console.$vm" "${command[@]:1}" -smbios "type=1,serial=${pattern[$vm]}"
	pid[$vm]=$guest_pid console[$vm]=$guest_log
}

declare -A daemon
for vm in vm1 vm2; do
	start_daemon --socket "$TEST_DIR/$vm.s" --key-file key $vm.seal
	daemon[$vm]=$daemon_pid
	boot_as_readme $vm "$TEST_DIR/$vm.s"
done
for vm in vm1 vm2; do
	finish $vm
	expect_equal "${pattern[$vm]}" "$(job_value "${console[$vm]}" found)" "what $vm found"
	expect_equal $lines "$(job_value "${console[$vm]}" lines)" "lines that $vm found"
done

# ---- readable over NBD, and nowhere else ----------------------------------------
# count_pattern FILE VM: lines of it that hold the VM's pattern.
count_pattern() {
	grep -a -c -F -- "${pattern[$2]}" "$1" || true
}

for vm in vm1 vm2; do
	nbdcopy "$(nbd_uri "$TEST_DIR/$vm.s")" disk.raw
	stop_daemon "${daemon[$vm]}"
	e2fsck -fn "disk.raw?offset=$root_offset"
	# A line may be cut in two where the file's extents meet.
	found=$(count_pattern disk.raw $vm)
	((found > lines / 2)) || fail "only $found lines with $vm's pattern are on its disk"
	for file in vm1.seal vm2.seal "$base"; do
		expect_equal 0 "$(count_pattern "$file" $vm)" "lines with $vm's pattern in $file"
	done
	rm disk.raw
done
sha256sum -c --quiet base.sum
"$sealblk" info vm1.seal
"$sealblk" map --svg "$BUILD_DIR/tests/booted-debian.svg" vm1.seal
echo "a picture of the booted disk: $BUILD_DIR/tests/booted-debian.svg"
