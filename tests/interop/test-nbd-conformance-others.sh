#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# nbd-conformance itself: it finds what is wrong with servers that have one fault each, and
# it can be run against a server of others. What its command line takes.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/conforms.sh"

cd "$TEST_DIR"
mkdir bad
mapfile -t faults < <("$python" "$SRC_DIR/tests/interop/conformance_faults.py")
while read -r fault; do
	[[ " ${faults[*]} " == *" $fault "* ]] || fail "no row is named for the fault $fault"
done < <(grep -ohP 'bad\("\K[^"]+' "$SRC_DIR"/tests/tools/bad_nbd_*.py)
"$python" "$SRC_DIR/tests/tools/bad_nbd_server.py" "$TEST_DIR/bad" none "${faults[@]}" >bad.log 2>&1 &
own_pid $!
wait_for 10 grep -q ready bad.log || fail "the server with faults did not start"
faultless=$(nbd_uri "$TEST_DIR/bad/none")
conforms "$faultless" faultless
"$python" "$SRC_DIR/tests/interop/conformance_faults.py" "$TEST_DIR/bad"

expect_exit 0 "${conformance[@]}" --list
expect_equal "$(result faultless.json rows)" "$(grep -cE '^  [a-z]' output)" "rows listed"
expect_exit 0 "${conformance[@]}" --help
expect_output "OVERWRITTEN"
expect_exit 0 "${conformance[@]}" --only greeting-magic,abort-ack "$faultless"
expect_output "^# 2 rows: 2 ok"
silent=$(nbd_uri "$TEST_DIR/bad/abort-unanswered")
expect_exit 1 "${conformance[@]}" --only abort-ack "$silent"
expect_output "^not ok 1 - abort-ack \(MUST\)"
expect_exit 0 "${conformance[@]}" --only abort-data-ignored "$silent"
expect_exit 1 "${conformance[@]}" --strict --only abort-data-ignored "$silent"
expect_exit 2 "${conformance[@]}"
expect_exit 2 "${conformance[@]}" nbd+unix:///
expect_exit 2 "${conformance[@]}" http://localhost/
expect_exit 2 "${conformance[@]}" --only nothing "$faultless"
expect_exit 2 "${conformance[@]}" --timeout 0 "$faultless"
expect_exit 2 "${conformance[@]}" --table server=bad.log
expect_output "not what --json prints"
expect_exit 1 "${conformance[@]}" --only greeting-magic "$(nbd_uri "$TEST_DIR/nobody")"
expect_output "nobody answers"

expect_exit 0 "${conformance[@]}" --table "a server=faultless.json"
expect_output "^\| .abort-ack. \| MUST \| .* \| ok \|$"

command -v nbdkit >/dev/null || {
	echo "nbdkit is not installed: no server of others was looked at"
	exit 0
}
nbdkit -f -U "$TEST_DIR/small" memory 512K >small.log 2>&1 &
own_pid $!
wait_for 10 test -S small || fail "nbdkit does not listen"
expect_exit 1 "${conformance[@]}" "$(nbd_uri "$TEST_DIR/small")"
expect_output "524288 bytes, and 1048576 are needed"
nbdkit -f -U "$TEST_DIR/nbdkit" memory 64M >nbdkit.log 2>&1 &
own_pid $!
status=0
"${conformance[@]}" --json "$(nbd_uri "$TEST_DIR/nbdkit")" >nbdkit.json || status=$?
broken nbdkit.json
expect_equal "$(($(result nbdkit.json MUST) > 0))" "$status" "exit status for nbdkit"
(($(result nbdkit.json ok) > 150)) || fail "nbdkit: $(result nbdkit.json ok) rows ok"
