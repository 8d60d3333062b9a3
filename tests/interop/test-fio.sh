#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# fio: random writes and trims of several sizes and depths, verified by their
# checksums while running, and once more by another daemon.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need fio qemu-img
cd "$TEST_DIR"
socket=$TEST_DIR/s
uri=$(nbd_uri "$socket")
[[ $(fio --enghelp) == *nbd* ]] || skip "needs fio with the nbd engine"
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
make_key key
make_base base.vhd fixed 32
"$sealblk" create --base base.vhd --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal

run() {
	fio --name=job --ioengine=nbd --uri="$uri" --size=32M --verify=crc32c --randseed="$seed" \
		"$@" >fio.log 2>&1 || {
		cat fio.log
		fail "fio $*"
	}
}

# A large depth takes several requests into one turn of a worker; 512 and 32 MiB are the limits.
for shape in 512,1 4k,1 4k,64 16k,16 1M,8 32M,1; do
	size=${shape%,*} depth=${shape#*,}
	extra=()
	[[ $size == 512 || $shape == 4k,1 ]] && extra=(--io_size=4M)
	run --rw=randwrite --bs="$size" --iodepth="$depth" "${extra[@]}"
	echo "- $size, depth $depth"
done
run --rw=randrw --bsrange=512-128k --iodepth=32 --fsync=50
run --rw=randtrimwrite --bs=64k --iodepth=1 --verify=0
run --rw=write --bsrange=512-256k --iodepth=16 --end_fsync=1
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
run --rw=write --bsrange=512-256k --iodepth=16 --verify_only=1
stop_daemon
