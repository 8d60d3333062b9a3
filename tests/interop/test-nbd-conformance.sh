#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The daemon breaks no demand of the NBD protocol's text, by either kind of socket and on
# exports that may be written or not; and the table in the documentation has all rows.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/conforms.sh"

cd "$TEST_DIR"
make_key key
for export in first second; do
	"$sealblk" create --size 64M --key-file key "$export.seal"
done
port=$("$python" -c '
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
start_daemon --socket "$TEST_DIR/s" --listen "127.0.0.1:$port" --key-file key \
	--export second=second.seal first.seal
conforms "$(nbd_uri "$TEST_DIR/s")" unix
conforms "nbd://127.0.0.1:$port/second" tcp
stop_daemon
start_daemon --socket "$TEST_DIR/s" --key-file key --read-only first.seal
conforms "$(nbd_uri "$TEST_DIR/s")" read-only
stop_daemon
expect_equal "" "$(jq -r '.rows[] | select(.result != "ok" and (.id | startswith("read-only-"))) | .id' \
	read-only.json)" "rows of read-only exports that were not looked at"

rows=$(result unix.json rows)
echo "figures: $rows rows, $(result unix.json n/a) n/a"
((rows >= 150)) || fail "$rows rows"
for name in unix tcp; do
	(($(result "$name.json" n/a) <= 10)) || fail "$name: $(result "$name.json" n/a) rows are n/a"
done
jq -r '.rows[].id' unix.json >ids
grep -oP '^\| \x60\K[^\x60]+' "$SRC_DIR/docs/nbd-conformance.md" >documented ||
	fail "docs/nbd-conformance.md has no table"
diff ids documented || fail "docs/nbd-conformance.md has other rows: tests/interop/conformance-table.sh"
