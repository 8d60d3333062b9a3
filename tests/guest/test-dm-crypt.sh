#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The kernel's dm-crypt reads a sealed plane as it stands in the image, with the
# keys that `sealblk key export` gives: the first TiB of a disk, and the second.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need jq qemu-img qemu-io qemu-system-x86_64 xxd
cd "$TEST_DIR"
tib=$((1 << 40))
skip_bytes=$((1 << 20))
count_bytes=$((2 << 20))
make_key key
"$sealblk" create --size 1025G --key-file key vm.seal

# ---- written over NBD, and read back --------------------------------------------
make_random data0 "$count_bytes"
make_random data1 "$count_bytes"
start_daemon --socket "$TEST_DIR/s" --key-file key vm.seal
qemu-io -f raw -c "write -s data0 $skip_bytes $count_bytes" \
	-c "write -s data1 $((tib + skip_bytes)) $count_bytes" \
	"$(nbd_uri "$TEST_DIR/s")"
# digest OFFSET: of what NBD reads there.
digest() {
	qemu-img convert --image-opts -O raw "driver=raw,offset=$1,size=$count_bytes,\
file.driver=nbd,file.server.type=unix,file.server.path=$TEST_DIR/s" digested
	sha256sum <digested | cut -d' ' -f1
}
digest0=$(digest "$skip_bytes")
digest1=$(digest $((tib + skip_bytes)))
stop_daemon
expect_equal "$(sha256sum <data0)" "$digest0  -" "NBD's digest in TiB 0"
expect_equal "$(sha256sum <data1)" "$digest1  -" "NBD's digest in TiB 1"

# ---- read by dm-crypt -----------------------------------------------------------
key0=$("$sealblk" key export --key-file key vm.seal)
"$sealblk" key export --key-file key --tib 1 --output raw1 vm.seal
plane_bytes=$("$sealblk" info --json vm.seal | jq '.planes[0].file_offset_bytes')
run_job job-dm-crypt.sh 120 "plane_sector=$((plane_bytes / 512)) key0=$key0 \
key1=$(xxd -p -c 64 raw1) skip_bytes=$skip_bytes count_bytes=$count_bytes" \
	-drive "file=vm.seal,format=raw,if=virtio,readonly=on"
expect_equal "$digest0" "$(job_value "$guest_log" tib0)" "dm-crypt's digest in TiB 0"
expect_equal "$digest1" "$(job_value "$guest_log" tib1)" "dm-crypt's digest in TiB 1"
[[ $(job_value "$guest_log" digest_wrong) != "$digest1" ]] || fail "the key of TiB 0 opens TiB 1"
