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
start_daemon "${listeners[@]}" --key-file key one.seal --export two=two.seal
for uri in "${uris[@]}"; do
	expect_equal 4194304 "$(size_at "$uri")" "$uri"
done
expect_equal "${#uris[@]}" "$(grep -c 'listening on' "$daemon_log")" "lines about sockets"
expect_equal "0 blocking, ${#uris[@]} not" "$(listener_modes)" "listeners"
nbd_io "$TEST_DIR/s" 'write -P 1 0 64k' flush
qemu-io -f raw -c 'write -P 2 0 64k' "$(nbd_uri "$TEST_DIR/t" two)" >/dev/null
for uri in "${uris[@]}"; do
	qemu-io -f raw -c 'read -P 1 0 64k' "$uri" >/dev/null || fail "not the same disk at $uri"
done
qemu-io -f raw -c 'read -P 2 0 64k' "nbd://127.0.0.1:$port/two" >/dev/null ||
	fail "not the export named two"
expect_equal ' two' "$(nbdinfo --list --json "${uris[0]}" |
	jq -r '[.exports[]."export-name"] | sort | join(" ")')" "the list of exports"
for name in none Two 'two ' twoo; do
	expect_exit 1 nbdinfo "$(nbd_uri "$TEST_DIR/s" "${name// /%20}")"
done
stop_daemon
[[ ! -e s && ! -e t ]] || fail "a socket was left"
echo '- several'

# ---- no export "": a client must name one ---------------------------------------------------
start_daemon --socket "$TEST_DIR/s" --key-file key --export two=two.seal
expect_exit 1 nbdinfo "$(nbd_uri "$TEST_DIR/s")"
qemu-io -f raw -c 'read -P 2 0 64k' "$(nbd_uri "$TEST_DIR/s" two)" >/dev/null
stop_daemon

# ---- places that are taken ------------------------------------------------------------------
# refuse PATTERN ARGUMENT...
refuse() {
	local pattern=$1
	shift
	expect_exit 1 timeout 20 "$sealblkd" --key-file key "$@" two.seal
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "^sealblkd: error: .*$pattern"
	expect_equal clean "$("$sealblk" info --json two.seal | jq -r .state)" "state of the image"
}

start_daemon --socket "$TEST_DIR/s" --listen "127.0.0.1:$port" --key-file key one.seal
refuse 'socket .*/s: in use by another server' --socket "$TEST_DIR/s"
refuse "address 127\.0\.0\.1:$port: cannot listen: Address already in use" \
	--listen "127.0.0.1:$port"
expect_equal 4194304 "$(size_at "$(nbd_uri "$TEST_DIR/s")")" "the first daemon"
# A socket that a dead daemon has left is replaced; another daemon's in its place is not removed.
kill_daemon
[[ -S s ]] || fail "no stale socket to try with"
start_daemon --socket "$TEST_DIR/s" --key-file key one.seal
first=$daemon_pid
mv s kept
start_daemon --socket "$TEST_DIR/s" --key-file key two.seal
stop_daemon "$first"
expect_equal 4194304 "$(size_at "$(nbd_uri "$TEST_DIR/s")")" "the second daemon"
stop_daemon
echo '- taken'

# ---- places that do not exist ---------------------------------------------------------------
echo text >file
mkdir folder
refuse 'socket file: .*not a socket' --socket file
refuse 'socket folder: ' --socket folder
refuse 'socket none/s: .*No such file' --socket none/s
refuse 'socket x{200}: longer than' --socket "$(printf 'x%.0s' {1..200})"
for address in 127.0.0.1 127.0.0.1: 127.0.0.1:notaport 127.0.0.1:70000 127.0.0.1:0 127.0.0.1:-1 :; do
	refuse "address $address: is not HOST:PORT" --listen "$address"
done
refuse 'address \[::1:10809: ' --listen '[::1:10809'
refuse 'address 192\.0\.2\.1:10809: cannot listen' --listen 192.0.2.1:10809
expect_equal text "$(cat file)" "the file in the way"
if ((EUID != 0)); then
	chmod 555 folder
	refuse 'socket folder/s: .*Permission denied' --socket folder/s
fi
