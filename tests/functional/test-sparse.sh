#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Large disks cost what is written to them; small and odd ones are disks, too.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need qemu-io nbdinfo jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key

now_ms() {
	date +%s%3N
}

kib_on_disk() {
	du -k "$1" | cut -f1
}

# ---- 2 TiB -------------------------------------------------------------------------------
if ! "$sealblk" create --size 2T --key-file key large.seal 2>refused; then
	cat refused
	grep -q 'largest file' refused && skip "files of 2 TiB do not fit here"
	fail "cannot create a disk of 2 TiB"
fi
(($(kib_on_disk large.seal) < 1024)) || fail "a fresh image takes $(kib_on_disk large.seal) KiB"
began=$(now_ms)
start_daemon --socket "$socket" --key-file key large.seal
took=$(($(now_ms) - began))
((took < 1000)) || fail "opening took $took ms"
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$daemon_pid/status")
((rss < 64 * 1024)) || fail "idle, the daemon uses $rss KiB"
end=$((2 << 40))
nbd_io "$socket" "write -P 1 0 512" "write -P 2 $((end - 512)) 512" "write -P 3 1T 64k" \
	"read -P 0 $((end / 2 - 65536)) 64k" flush
nbdinfo --map=x-sealblk:encryption "$(nbd_uri "$socket")" >map
expect_equal "0,512,3 512,$((end / 2 - 512)),1 $((end / 2)),65536,3" \
	"$(awk 'NR <= 3 { print $1 "," $2 "," $3 }' map | xargs)" "the map's first extents"
(($(kib_on_disk large.seal) < 2048)) || fail "three writes take $(kib_on_disk large.seal) KiB"
kill_daemon
start_daemon --socket "$socket" --key-file key large.seal
nbd_io "$socket" 'read -P 1 0 512' "read -P 2 $((end - 512)) 512" 'read -P 3 1T 64k'
# All of it at once: no work per sector.
began=$(now_ms)
"$python" - "$socket" <<'PY'
import sys
import nbd
handle = nbd.NBD()
handle.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
step = (4 << 30) - 512
size = handle.get_size()
for offset in range(0, size, step):
    handle.trim(min(step, size - offset), offset)
handle.flush()
PY
took=$(($(now_ms) - began))
((took < 5000)) || fail "trimming 2 TiB took $took ms"
nbd_io "$socket" 'read -P 0 0 512' "read -P 0 $((end - 512)) 512" 'read -P 0 1T 64k'
stop_daemon
echo "- 2 TiB"

# ---- one sector, odd numbers, the borders of map blocks -----------------------------------
for size in 512 1536 4063232 4063744 8126464 10000384; do
	rm -f small.seal
	"$sealblk" create --size "$size" --key-file key small.seal
	start_daemon --socket "$socket" --key-file key small.seal
	expect_equal "$size" "$(nbdinfo --size "$(nbd_uri "$socket")")" size
	nbd_io "$socket" "write -P 1 0 $size" "write -P 2 $((size - 512)) 512" flush
	stop_daemon
	start_daemon --socket "$socket" --key-file key small.seal
	((size == 512)) || nbd_io "$socket" "read -P 1 0 $((size - 512))"
	nbd_io "$socket" "read -P 2 $((size - 512)) 512"
	stop_daemon
	expect_equal "$((size / 512))" "$("$sealblk" info --json small.seal | jq .sectors.sealed)" sealed
done
