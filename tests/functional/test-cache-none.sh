#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# --cache none: what clients read and write goes past the host's page cache, whatever its size
# and alignment, and nothing else is different.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need fio fincore nbdcopy
[[ $(fio --enghelp) == *nbd* ]] || skip "needs fio with the nbd engine"
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$BUILD_DIR/tests/mkvhd" --size 16M base.vhd

expect_exit 2 "$sealblkd" --cache some --socket "$socket" --key-file key image.seal
expect_output "must be writeback or none"
expect_exit 2 "$sealblkd" --cache none --trace t --socket "$socket" --key-file key image.seal
expect_output "not with --cache none"

# In memory there is none to go past.
memory=$(mktemp -d /dev/shm/sealblk-cache-XXXXXX)
trap 'status=$?; set +e; rm -rf "$memory"; (exit $status); cleanup' EXIT
"$sealblk" create --size 8M --key-file key "$memory/image.seal"
start_daemon --cache none --socket "$socket" --key-file key "$memory/image.seal"
head -c 8M /dev/urandom >random
nbdcopy random "$(nbd_uri "$socket")"
nbdcopy "$(nbd_uri "$socket")" back
expect_same random back
stop_daemon

kind=$(stat -f -c %T .)
[[ $kind != tmpfs ]] || skip "needs a folder on a disk"

# cached_mib FILE: of its pages, those in the page cache, in MiB.
cached_mib() {
	fincore --noheadings --bytes --output RES "$1" | awk '{ print int($1 / 1048576) }'
}

verify() {
	fio --output=fio.log --name=verify --ioengine=nbd --uri="$(nbd_uri "$socket")" --verify=crc32c \
		--verify_fatal=1 --iodepth=16 --randseed="$RANDOM" "$@" || { cat fio.log; fail "fio $*"; }
}

for engine in io_uring libaio; do
	rm -f image.seal
	"$sealblk" create --base base.vhd --key-file key image.seal
	args=(--cache none --workers 2 --io-engine "$engine" --socket "$socket" --key-file key image.seal)
	start_daemon "${args[@]}"
	# Both ways past the cache, by memory that the kernel keeps in place where it can.
	pinned_kib=$(awk '/^VmPin:/ { print $2 }' "/proc/$daemon_pid/status")
	[[ $engine == libaio ]] || ((pinned_kib == 2 * 65536)) || fail "$pinned_kib KiB are kept in place"
	# Single sectors, ranges that begin and end anywhere, and large ones.
	verify --rw=randwrite --bsrange=512-64k --size=16M
	verify --rw=randrw --bs=512 --size=2M --offset=3M
	verify --rw=write --bs=1M --size=16M
	sync -f image.seal
	(($(cached_mib image.seal) < 4)) || fail "$engine: $(cached_mib image.seal) MiB in the page cache"
	nbdcopy "$(nbd_uri "$socket")" before
	(($(cached_mib image.seal) < 4)) || fail "$engine: reads fill the page cache"

	"$sealblk" rekey --key-file key image.seal
	kill_daemon
	start_daemon "${args[@]}"
	nbdcopy "$(nbd_uri "$socket")" after
	expect_same before after
	stop_daemon
	"$sealblk" check --key-file key image.seal
done

# Without it they are cached.
start_daemon --socket "$socket" --key-file key image.seal
nbdcopy "$(nbd_uri "$socket")" after
expect_same before after
(($(cached_mib image.seal) >= 15)) || fail "$(cached_mib image.seal) MiB in the page cache"
stop_daemon
