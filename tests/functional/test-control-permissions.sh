#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Who may talk to a daemon: its own user and root. Others cannot reach the socket,
# and would they reach it, they are refused by who they are.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq "$python" setpriv
((EUID == 0)) || skip "needs root, to be several users"
cd "$TEST_DIR"
make_key key
"$sealblk" create --size 4M --key-file key "$TEST_DIR/image.seal"

# ask USER SOCKET: what USER (a number) is answered, or why not.
ask() {
	setpriv --reuid "$1" --regid "$1" --clear-groups "$python" -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
try:
    s.connect(sys.argv[1])
    try:
        s.sendall(b"{\"verb\":\"encryption\",\"enabled\":false}\n")
    except BrokenPipeError:
        pass  # refused already: it says why
    print(s.makefile().readline().strip())
except OSError as error:
    print(error.strerror)' "$2"
}

# lend SOCKET: the same one, where everybody may connect; its path.
lend() {
	mkdir -m 755 "$lent"
	ln "$1" "$lent/s"
	chmod 666 "$lent/s"
	echo "$lent/s"
}

refusal="{\"error\":\"image $TEST_DIR/image.seal: its daemon: only the daemon's user and root may ask\"}"

# ---- root's daemon -----------------------------------------------------------------
start_daemon --socket "$TEST_DIR/s" --key-file key "$TEST_DIR/image.seal"
path=$(control_socket image.seal)
lent=$(dirname "$path")-test-$$
trap 'status=$?; rm -rf "$lent"; (exit $status); cleanup' EXIT
expect_equal '600 700' "$(stat -c %a "$path" "$(dirname "$path")" | tr '\n' ' ' | sed 's/ $//')" "modes"
expect_equal 'Permission denied' "$(ask 65534 "$path")" "another user, at the socket"
open=$(lend "$path")
expect_equal "$refusal" "$(ask 65534 "$open")" "another user, at a socket that lets everybody in"
expect_equal true "$("$sealblk" encryption status --json image.seal | jq .enabled)" "after that"
expect_equal false "$(ask 0 "$open" | jq .enabled)" "root"
stop_daemon
rm -r "$lent"

# ---- another user's -----------------------------------------------------------------
user=4242
chmod 755 "$TEST_DIR"
cp "$sealblkd" sealblkd
chown "$user" image.seal key run
daemon_log=$TEST_DIR/daemon.log
setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \
	./sealblkd --socket "$TEST_DIR/run/s" --key-file key "$TEST_DIR/image.seal" >"$daemon_log" 2>&1 &
daemon_pid=$!
own_pid "$daemon_pid"
wait_for 20 daemon_is_ready_or_gone
grep -q ready "$daemon_log" || fail "the daemon did not start"
path=$(find run/sealblk -name '*.sock')
expect_equal 1 "$(wc -w <<<"$path")" "sockets"
expect_equal "$user 600" "$(stat -c '%u %a' "$path")" "owner and mode"
lent=$TEST_DIR/lent
open=$(lend "$path")
expect_equal "$refusal" "$(ask 4243 "$open")" "another user"
expect_equal false "$(ask "$user" "$open" | jq .enabled)" "the same user"
expect_equal false "$(ask 0 "$path" | jq .enabled)" "root"
stop_daemon
