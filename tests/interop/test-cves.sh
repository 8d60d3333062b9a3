#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What other NBD servers were given CVE numbers for; docs/security.md has the list.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need python3
cd "$TEST_DIR"
make_key key
seed=${SEED:-$RANDOM}
echo "SEED=$seed"
"$sealblk" create --size 4T --key-file key image.seal
start_daemon --socket "$TEST_DIR/s" --key-file key image.seal
python3 "$SRC_DIR/tests/interop/cves.py" "$TEST_DIR/s" "$daemon_pid" "$seed"

# CVE-2024-7409: clients that never finish, and the server is stopped. (test-handshake-deadline.sh: they
# do not stay for long.)
cat >stray.py <<'PY'
import socket, sys
clients = []
for nr in range(60):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    client.send(b"\0\0\0\3IHAVEOPT"[:nr % 13])
    clients.append(client)
print("ready", flush=True)
sys.stdin.read()
PY
mkfifo hold
python3 stray.py "$TEST_DIR/s" <hold >stray.out &
stray=$!
own_pid "$stray"
exec 9>hold
ready() { grep -q ready stray.out; }
wait_for 20 ready
begun=$(date +%s%N)
stop_daemon
took_ms=$((($(date +%s%N) - begun) / 1000000))
((took_ms < 5000)) || fail "took $took_ms ms to stop beside stray clients"
exec 9>&-
wait "$stray"
disown_pid "$stray"
"$sealblk" check --key-file key image.seal
echo "CVE-2024-7409: stopped in $took_ms ms beside 60 clients in the middle of the handshake ok"
