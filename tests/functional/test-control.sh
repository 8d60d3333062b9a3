#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The control socket by hand: every example of docs/control.md, and clients that
# do all that they should not. Nobody else is held up by any of them.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-io python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_key new
"$sealblk" create --size 16M --key-file key "$TEST_DIR/vm.seal"
"$sealblk" create --size 64M --key-file key "$TEST_DIR/long.seal"
start_daemon --socket "$socket" --key-file key "$TEST_DIR/vm.seal"
nbd_io "$socket" 'write 0 64k'
is_encrypted() {
	[[ $("$sealblk" info --json vm.seal | jq .server_encrypted) == true ]]
}
wait_for 5 is_encrypted || fail "not server encrypted"
timeout 60 "$SRC_DIR/tests/tools/control.py" examples "$SRC_DIR/docs/control.md" \
	"$(control_socket vm.seal)" "$TEST_DIR/vm.seal" key new
stop_daemon

# A map that no socket holds: every other sector of 4 MiB.
start_daemon --socket "$socket" --key-file key "$TEST_DIR/long.seal"
commands=()
for ((i = 0; i < 4096; i++)); do commands+=("write $((i * 1024)) 512"); done
nbd_io "$socket" "${commands[@]}"
(ulimit -n 4096 && timeout 200 "$SRC_DIR/tests/tools/control.py" abuse \
	"$(control_socket long.seal)" "$TEST_DIR/long.seal" "$daemon_pid") >abused
cat abused
nbd_io "$socket" 'read 0 4M'

# A daemon with clients of all kinds stops at once.
"$SRC_DIR/tests/tools/control.py" hang "$(control_socket long.seal)" >hanging &
own_pid $!
wait_for 10 grep -q hanging hanging || fail "the clients do not hang"
SECONDS=0
stop_daemon
((SECONDS < 4)) || fail "it took $SECONDS s to stop"
[[ ! -s $daemon_log ]] || ! grep -E 'error|warning' "$daemon_log" || fail "logged"
echo "figures: $(sed -n 's/^figures: //p' abused)"
