#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The bench measures what it says, tells which targets are met, and leaves nothing behind.
. "$(dirname "$0")/../lib.sh"
need qemu-img nbdkit nbdcopy
cd "$TEST_DIR"

loads=(--load 'sw 128K' --load 'rr 4K QD32' --load 'copy out' --load 'first w 4K')
run() {
	"$python" "$SRC_DIR/tests/bench/bench.py" --build "$BUILD_DIR" --rounds 2 --seconds 0.2 --size 16 \
		--place "tmpfs=$TEST_DIR" --csv bench.csv --svg bench.svg "${loads[@]}" "$@"
}
run --server sealblkd --server 'nbdkit file' --server 'sealblkd fresh' --server 'nbdkit cow' >out
cat out

# Two rounds of three loads on two servers, and of one on two.
expect_equal $((1 + 2 * (3 * 2 + 2))) "$(wc -l <bench.csv)" "lines of the CSV"
expect_equal 0 "$(awk -F, 'NR > 1 && !($5 > 0)' bench.csv | wc -l)" "measurements that are not positive"
for load in 'sw 128K' 'rr 4K QD32' 'copy out'; do
	grep -qE "^  (PASS |short) sealed / best unencrypted peer: $load: [0-9.]+, at least 1.00$" out ||
		fail "no verdict on $load"
done
grep -qE '^  (PASS |short) fresh sealed / nbdkit cow: first w 4K: ' out || fail "no verdict on first writes"
grep -qE '^[0-9]+ of [0-9]+ targets met$' out || fail "no sum"
xmllint --noout bench.svg 2>/dev/null || "$python" -c 'import xml.dom.minidom as x; x.parse("bench.svg")'
[[ -z $(compgen -G 'sealblk-bench-*') ]] || fail "a folder is left"

expect_exit 2 run --server apache
expect_output 'no server is called apache: sealblkd, '
# A server that does not start is left out, and told.
mkdir broken
ln -s "$BUILD_DIR/tests" broken/
ln -s /bin/false broken/sealblk
BUILD_DIR=$TEST_DIR/broken run --server sealblkd --server 'nbdkit file' >out
grep -q '^SKIP sealblkd: ' out || fail "a server that cannot start is not told"
