#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A passphrase opens an image: the first line of its file, and nothing else.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
printf 'correct horse battery staple\nanother line\n' >phrase
printf 'correct horse battery staple' >no-newline
printf 'correct horse battery staple \n' >space
printf 'Correct horse battery staple\n' >other
make_key key

"$sealblk" create --size 4M --passphrase-file phrase image.seal
start_daemon --socket "$socket" --passphrase-file phrase image.seal
nbd_io "$socket" 'write -P 1 0 64k'
stop_daemon
start_daemon --socket "$socket" --passphrase-file no-newline image.seal
nbd_io "$socket" 'read -P 1 0 64k'
stop_daemon
for wrong in space other; do
	expect_exit 4 "$sealblkd" --socket "$socket" --passphrase-file "$wrong" image.seal
	expect_output 'none of the keys given opens it'
done
# The same bytes as a key file are another key.
printf 'correct horse battery staple' >phrase.key
head -c 8 /dev/zero >>phrase.key
expect_exit 4 "$sealblkd" --socket "$socket" --key-file phrase.key image.seal

# All keys are tried on each image.
"$sealblk" create --size 4M --key-file key keyed.seal
start_daemon --socket "$socket" --passphrase-file other --passphrase-file phrase --key-file key \
	--export a=image.seal --export b=keyed.seal
qemu-io -f raw -c 'read -P 1 0 64k' "$(nbd_uri "$socket" a)" >/dev/null
qemu-io -f raw -c 'read -P 0 0 64k' "$(nbd_uri "$socket" b)" >/dev/null
stop_daemon
