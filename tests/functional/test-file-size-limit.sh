#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A limit on the size of files (ulimit -f) is like a full disk: the write behind
# it answers ENOSPC, and nothing else happens to the daemon or the image.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
for image in image other; do
	"$sealblk" create --size 32M --key-file key $image.seal
done
# Everything the daemon starts with lies below 8 MiB.
ulimit -S -f 8192
start_daemon --socket "$socket" --key-file key image.seal
expect_exit 1 "$sealblk" encryption off --key-file key other.seal
expect_output 'cannot switch planes: one more plane makes it larger than'
expect_exit 0 "$sealblk" encryption status other.seal
expect_output 'encryption on'
expect_equal clean "$("$sealblk" info --json other.seal | jq -r .state)" "state after a refused switch"
ulimit -S -f unlimited
nbd_io "$socket" 'write -P 1 0 1M'
expect_exit 1 nbd_io "$socket" 'write -P 2 20M 1M'
expect_output 'No space left on device'
nbd_io "$socket" 'read -P 1 0 1M' 'read -P 0 20M 1M' 'write -P 3 1M 64k' 'read -P 3 1M 64k'
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 2 20M 1M' 'read -P 1 0 1M' 'read -P 2 20M 1M'
stop_daemon
expect_exit 0 "$sealblk" check --key-file key image.seal
