#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kill -9 of the daemon while it is busy: every acknowledged change is there
# after the restart. SEED=N repeats a run.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need qemu-img fio
cd "$TEST_DIR"
socket=$TEST_DIR/s
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
RANDOM=$seed
client=$SRC_DIR/tests/tools/end_under_load.py

make_key key
make_base base.vhd fixed 8
base_before=$(digest base.vhd)
"$sealblk" create --base base.vhd --size 12M --key-file key image.seal

serve() {
	start_daemon --socket "$socket" --key-file key "$1"
}

# seconds MAX: from 0.10 to 0.09 + MAX.
seconds() {
	printf '0.%02d + %d\n' $((10 + RANDOM % 90)) $((RANDOM % $1)) | sed 's/0\(.*\) + \(.*\)/\2\1/'
}

# kill_while_starting IMAGE: a start that ends before it is ready, or just after.
kill_while_starting() {
	"$sealblkd" --socket "$socket" --key-file key "$1" >/dev/null 2>&1 </dev/null &
	own_pid $!
	sleep "0.0$((RANDOM % 10))"
	kill_daemon $!
}

# ---- random requests over several connections --------------------------------------
rounds=4
[[ ${SEALBLK_LONG:-} ]] && rounds=100
for ((i = 0; i < rounds; i++)); do
	serve image.seal
	"$client" load "$socket" state $((seed + i)) "$(seconds 3)" "$daemon_pid" base.vhd.raw
	wait "$daemon_pid" 2>/dev/null || true
	disown_pid "$daemon_pid"
	((i % 2 == 0)) || kill_while_starting image.seal
	serve image.seal
	grep -q 'was not closed; recovered' "$daemon_log" || ((i % 2)) || fail "recovered silently"
	"$client" check "$socket" state base.vhd.raw
	if ((i == 0)); then stop_daemon; else kill_daemon; fi
done
expect_equal "$base_before" "$(digest base.vhd)" "the base's digest"

# ---- fio: what one job wrote is there when the daemon dies under the next -----------
"$sealblk" create --size 64M --key-file key fio.seal
fio_job() {
	fio --name=v --ioengine=nbd --uri="$(nbd_uri "$socket")" --rw=randwrite \
		--bsrange=512-64k --iodepth=16 --verify=crc32c --randseed="$seed" "$@" >fio.log 2>&1
}
serve fio.seal
fio_job --size=16M --do_verify=0 || { cat fio.log; fail "fio cannot write"; }
{ fio_job --offset=32M --size=32M --do_verify=0 --time_based --runtime=30 || exit 1; } &
fio_pid=$!
own_pid "$fio_pid"
sleep 0.5
kill_daemon
wait "$fio_pid" && fail "fio did not notice that the daemon is gone"
serve fio.seal
fio_job --size=16M --verify_only=1 || { cat fio.log; fail "fio misses what it wrote"; }
stop_daemon
