#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# nbd-conformance: the daemon breaks no demand of the protocol's text, by either kind of
# socket; other servers can be held against it as well; and servers that do break a demand
# are found out.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq
conformance=("$python" "$SRC_DIR/tests/interop/nbd-conformance")

# result FILE COUNT: a number out of what --json printed.
result() {
	jq -r ".counts[\"$2\"]" "$1"
}

# broken FILE: the rows that are not ok.
broken() {
	jq -r '.rows[] | select(.result == "not ok") | "\(.id) (\(.level)): \(.why)"' "$1"
}

# conforms URI NAME: no row is not ok; the rows are in NAME.json.
conforms() {
	"${conformance[@]}" --strict --json "$1" >"$2.json" || {
		broken "$2.json"
		fail "$2 breaks the rows above"
	}
	expect_equal 0 "$(result "$2.json" "not ok")" "$2: rows that are not ok"
}

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
expect_equal 0 "$(jq -r '.rows[] | select(.id | startswith("read-only-")) | select(.result != "ok") | .id' \
	read-only.json | wc -l)" "rows of read-only exports that were not looked at"

rows=$(result unix.json rows)
echo "figures: $rows rows, $(result unix.json n/a) n/a"
((rows >= 150)) || fail "$rows rows"
for name in unix tcp; do
	(($(result "$name.json" n/a) <= 10)) || fail "$name: $(result "$name.json" n/a) rows are n/a"
done

expect_exit 0 "${conformance[@]}" --list
expect_equal "$rows" "$(grep -cE '^  [a-z]' output)" "rows listed"
expect_exit 2 "${conformance[@]}"
expect_exit 2 "${conformance[@]}" nbd+unix:///
expect_exit 2 "${conformance[@]}" http://localhost/
expect_exit 2 "${conformance[@]}" --only nothing nbd://localhost/
expect_exit 1 "${conformance[@]}" --only greeting-magic "nbd+unix:///?socket=$TEST_DIR/nobody"
expect_output "nobody answers"

# Servers with one thing wrong, which a row has to find.
mkdir bad
mapfile -t faults < <("$python" "$SRC_DIR/tests/interop/conformance_faults.py")
while read -r fault; do
	[[ " ${faults[*]} " == *" $fault "* ]] || fail "no row is named for the fault $fault"
done < <(grep -ohP 'bad\("\K[^"]+' "$SRC_DIR"/tests/tools/bad_nbd_*.py)
"$python" "$SRC_DIR/tests/tools/bad_nbd_server.py" "$TEST_DIR/bad" none "${faults[@]}" >bad.log 2>&1 &
own_pid $!
wait_for 10 grep -q ready bad.log || fail "the server with faults did not start"
conforms "$(nbd_uri "$TEST_DIR/bad/none")" faultless
"$python" "$SRC_DIR/tests/interop/conformance_faults.py" "$TEST_DIR/bad"

if command -v nbdkit >/dev/null; then
	nbdkit -f -U "$TEST_DIR/nbdkit" memory 64M >nbdkit.log 2>&1 &
	own_pid $!
	status=0
	"${conformance[@]}" --json "$(nbd_uri "$TEST_DIR/nbdkit")" >nbdkit.json || status=$?
	broken nbdkit.json
	expect_equal "$status" "$(($(result nbdkit.json MUST) > 0))" "exit status for nbdkit"
	(($(result nbdkit.json ok) > rows / 2)) || fail "nbdkit: $(result nbdkit.json ok) rows ok"
else
	echo "nbdkit is not installed: another server was not looked at"
fi
