#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Where the daemon listens, and what it serves there: several sockets, TCP over
# IPv4 and IPv6, several exports by name.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io nbdinfo python3 jq
cd "$TEST_DIR"
make_key key
for name in one two; do
	"$sealblk" create --size 4M --key-file key $name.seal
done

# A TCP port that nobody uses at the moment.
free_port() {
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.bind((sys.argv[1], 0))
print(s.getsockname()[1])' "$1"
}

size_at() {
	nbdinfo --size "$1"
}

# ---- several sockets, several exports ------------------------------------------------------
port=$(free_port 127.0.0.1)
listeners=(--socket "$TEST_DIR/s" --socket "$TEST_DIR/t" --listen "127.0.0.1:$port")
uris=("$(nbd_uri "$TEST_DIR/s")" "$(nbd_uri "$TEST_DIR/t")" "nbd://127.0.0.1:$port/")
if port6=$(free_port ::1 2>/dev/null); then
	listeners+=(--listen "[::1]:$port6")
	uris+=("nbd://[::1]:$port6/")
else
	echo "no IPv6 here"
fi
start_daemon "${listeners[@]}" --key-file key one.seal --export two=two.seal --export 'a b=c=d' \
	2>/dev/null && fail "served an image that is not there" || true
