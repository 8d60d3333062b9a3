#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# SIGTERM and SIGINT under load, with clients that stay connected: exit 0 within
# seconds, everything acknowledged is in the image, nothing to recover.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
client=$SRC_DIR/tests/tools/end_under_load.py
make_key key
"$sealblk" create --size 12M --key-file key image.seal

# Connections that say nothing, before the handshake is over and after; and one that asks for much
# and takes none of it.
idle_clients() {
	exec 3< <(exec "$python" -u -c '
import socket, sys, time
import nbd
raw = socket.socket(socket.AF_UNIX)
raw.connect(sys.argv[1])
raw.recv(18)
handle = nbd.NBD()
handle.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
greedy = nbd.NBD()
greedy.connect_uri("nbd+unix:///?socket=" + sys.argv[1])
for _ in range(40):
    greedy.aio_pread(nbd.Buffer(1 << 20), 0)
print("connected")
time.sleep(60)' "$socket")
	own_pid $!
	local line
	read -r line <&3
	expect_equal connected "$line"
}

for signal in TERM INT; do
	start_daemon --socket "$socket" --key-file key image.seal
	grep -q recover "$daemon_log" && fail "recovered after a clean stop"
	idle_clients
	"$client" load --signal "$signal" "$socket" state "$seed" 0.7 "$daemon_pid"
	asked=$SECONDS status=0
	wait "$daemon_pid" || status=$?
	disown_pid "$daemon_pid"
	expect_equal 0 "$status" "exit of the daemon"
	((SECONDS - asked <= 5)) || fail "stopping took $((SECONDS - asked)) s"
	[[ ! -e $socket ]] || fail "the socket is still there"
	expect_equal clean "$("$sealblk" info --json image.seal | jq -r .state)" state

	start_daemon --socket "$socket" --key-file key image.seal
	grep -q recover "$daemon_log" && fail "recovered after a clean stop"
	"$client" check "$socket" state
	stop_daemon
done

# ---- clients that come and go all the time: one of them is in the door when it closes ----
exec 4< <(exec "$python" -u -c '
import socket, sys
print("knocking")
while True:
    try:
        client = socket.socket(socket.AF_UNIX)
        client.connect(sys.argv[1])
        client.close()
    except OSError:
        pass' "$socket")
knocker=$!
own_pid "$knocker"
read -r line <&4
expect_equal knocking "$line"
for _ in {1..8}; do
	start_daemon --socket "$socket" --key-file key image.seal
	sleep 0.1
	stop_daemon
	grep -Eq 'error|recover|Bad file' "$daemon_log" && fail "$(cat "$daemon_log")"
done
kill "$knocker"
wait "$knocker" 2>/dev/null || true
disown_pid "$knocker"

# No files are left in the runtime directory.
runtime=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) && runtime=/run/sealblk
uuid=$("$sealblk" info --json image.seal | jq -r .uuid)
expect_equal '' "$(find "$runtime" -name "$uuid*")" "left in the runtime directory"
