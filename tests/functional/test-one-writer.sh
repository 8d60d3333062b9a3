#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# One daemon per image, and per image UUID: the second one is refused, waits no
# longer than it says, and does not disturb the first.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$sealblk" create --size 4M --key-file key image.seal
cp --sparse=always image.seal copy.seal
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 1 0 64k'

# refuse PATTERN SECONDS IMAGE...
refuse() {
	local pattern=$1 seconds=$2 began=$SECONDS
	shift 2
	expect_exit 1 timeout 20 "$sealblkd" --socket "$TEST_DIR/second" --key-file key "$@"
	expect_output "^sealblkd: error: .*$pattern"
	expect_equal 1 "$(grep -c error output)" "errors printed"
	((SECONDS - began <= seconds)) || fail "refusing took $((SECONDS - began)) s"
	[[ ! -e second ]] || fail "a socket was left"
	nbd_io "$socket" 'read -P 1 0 64k' 'write -P 1 0 4k' flush
}

# One daemon, the same image twice: it does not wait for itself.
"$sealblk" create --size 4M --key-file key third.seal
ln third.seal link.seal
refuse 'link\.seal: given twice' 1 --export a=third.seal --export b=link.seal

refuse 'image\.seal: in use' 7 image.seal
before=$(digest copy.seal)
refuse 'copy\.seal: an image with the same UUID is being served' 2 copy.seal
expect_equal "$before" "$(digest copy.seal)" "digest of the copy"

cp --sparse=always third.seal fourth.seal
refuse 'fourth\.seal: an image with the same UUID' 2 --export a=third.seal --export b=fourth.seal
expect_equal clean "$("$sealblk" info --json third.seal | jq -r .state)" "state of the first of two"

# The lock goes with the daemon, however it ends.
kill_daemon
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 1 0 64k'
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
stop_daemon
# Now the copy may be served.
start_daemon --socket "$socket" --key-file key copy.seal
stop_daemon
