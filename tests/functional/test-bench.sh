#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The bench on a tiny disk: each measurement is in the CSV, every ratio gets a verdict, a
# server that does not start is told and left out, and nothing is left behind, not even when
# the run is interrupted. What the figures are does not matter here.
. "$(dirname "$0")/../lib.sh"
need nbdkit nbdinfo nbdcopy fio jq pgrep
cd "$TEST_DIR"

bench=("$python" "$SRC_DIR/tests/bench/bench.py" --build "$BUILD_DIR" --place "here=$TEST_DIR"
	--size 16 --seconds 0.05 --csv bench.csv)
bench() {
	"${bench[@]}" "$@"
}

# Folders, and processes that were started in one.
expect_nothing_left() {
	[[ -z $(compgen -G "$TEST_DIR/sealblk-bench-*") ]] || fail "a folder is left"
	! pgrep -a -f "$TEST_DIR/sealblk-bench-" || fail "a process is left"
}

# rows SERVER: of the CSV, with a value greater than nothing.
rows() {
	awk -F, -v server="$1" '$4 == server && $6 > 0' bench.csv | wc -l
}

echo "--- a run"
bench --quick --only sealed,sealed-fresh,nbdkit-file,fio-file --svg bench.svg >out
cat out
expect_nothing_left
for server in sealed sealed-fresh nbdkit-file; do
	expect_equal 4 "$(rows "$server")" "measurements of $server"
	grep -Eq "^\| $server +\| +[0-9.]+ \([0-9.]+x\) \|" out || fail "no ratio of $server"
done
expect_equal 2 "$(rows fio-file)" "measurements of fio-file, which knows no depth"
expect_equal $((1 + 3 * 4 + 2)) "$(wc -l <bench.csv)" "lines of the CSV"
expect_equal 6 "$(awk -F, '$5 == "kIOPS" && $9 > 0 && $10 >= $9' bench.csv | wc -l)" \
	"measurements with p50 and p99"
expect_equal 12 "$(awk -F, 'NR > 1 && $14 > 0' bench.csv | wc -l)" "measurements with CPU time"
for load in read-128K-qd16 write-128K-qd16 randread-4K-qd32 randwrite-4K-qd32; do
	# sealed and sealed-fresh beside the best peer
	expect_equal 2 "$(grep -Ec "^    (PASS |short) $load: [0-9.]+, at least 1.00 \(beside nbdkit-file\)(: by [0-9]+%)?$" out)" \
		"verdicts on $load"
done
grep -q '^  sealed / nbdkit-luks: not measured$' out || fail "a target without figures is not told"
grep -Eq '^here: [0-9]+ of [0-9]+ lines PASS, [0-9]+ short$' out || fail "no sum"
"$python" -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' bench.svg

echo "--- what nbdload says"
# field NAME: of the line that nbdload printed.
field() {
	grep -Eo "\b$1 [0-9.]+" load | cut -d ' ' -f 2
}
make_key key
make_random base 16M
"$sealblk" create --base base:raw --key-file key vm.seal
start_daemon --socket s --key-file key vm.seal
"$BUILD_DIR/tests/nbdload" "$(nbd_uri "$PWD/s")" randwrite-once 4096 32 4 60 0 | tee load
expect_equal 4096 "$(field requests)" "requests until each block has come once"
expect_equal $((16 << 11)) "$("$sealblk" info --json vm.seal | jq .sectors.sealed)" "sectors they wrote"
stop_daemon
# Each read takes 20 ms.
nbdkit -f -U "$PWD/delayed" --filter=delay memory 16M rdelay=20ms &
own_pid $!
wait_for 10 nbdinfo --size "$(nbd_uri "$PWD/delayed")" || fail "nbdkit does not start"
"$BUILD_DIR/tests/nbdload" "$(nbd_uri "$PWD/delayed")" randread 4096 4 1 0.3 0 | tee load
awk -v p50="$(field p50_us)" -v p99="$(field p99_us)" -v kiops="$(field kiops)" \
	'BEGIN { exit !(p50 >= 20000 && p99 >= p50 && kiops <= 4 / 20) }' || fail "latencies of another server"

echo "--- all kinds of load; over a base no sector is written twice"
bench --rounds 1 --only sealed-fresh,nbdkit-file/* >out
expect_equal 13 "$(rows sealed-fresh)" "loads"
expect_equal 13 "$(rows nbdkit-file)" "loads"
expect_equal 0 "$(awk -F, -v size=$((16 << 20)) '$4 == "sealed-fresh" && $3 ~ /write/ && $12 > size' bench.csv | wc -l)" \
	"loads that wrote more than the disk holds"

echo "--- a server that does not start"
mkdir broken
cp -r "$BUILD_DIR/tests" "$BUILD_DIR/sealblk" broken/
printf '#!/bin/sh\necho "it is broken"; exit 1\n' >broken/sealblkd
chmod +x broken/sealblkd
bench --quick --build broken --only sealed,sealed-libaio,nbdkit-file >out
cat out
grep -qx 'SKIP sealed: it did not start: it is broken' out || fail "its failure is not told"
grep -q '^SKIP sealed-libaio: ' out || fail "a missing engine is not told"
expect_equal 0 "$(rows sealed)" "measurements of it"
expect_equal 4 "$(rows nbdkit-file)" "measurements of the other"
expect_nothing_left

echo "--- interrupted"
rm bench.csv
"${bench[@]}" --rounds 1000 --only sealed,nbdkit-file >out 2>&1 &
own_pid $!
wait_for 30 compgen -G 'sealblk-bench-*/nbdkit-file/s' || fail "it does not start its servers"
kill -INT $!
status=0
wait $! || status=$?
disown_pid $!
expect_equal 130 "$status" "exit status"
expect_nothing_left

echo "--- usage"
expect_exit 2 bench --only apache
expect_output 'no server is called apache: there are sealed, '
expect_exit 2 bench --only 'sealed/nothing*'
expect_output 'no load is called nothing\*: there are read-1M-qd16, '
expect_exit 1 bench --size 1000000000
expect_output 'has room for [0-9]+ MiB, and [0-9]+ are needed'
