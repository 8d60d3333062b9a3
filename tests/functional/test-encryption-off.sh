#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# create --encryption off: sectors are written in the clear, and every report
# says so; a daemon that must not serve such an image does not.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io nbdinfo jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
secret='readable in the file 77d0'
yes "$secret" | head -c 64k >pattern || true

"$sealblk" create --size 8M --encryption off --key-file key plain.seal
"$sealblk" create --size 8M --key-file key sealed.seal
for image in plain sealed; do
	start_daemon --socket "$socket" --key-file key $image.seal
	nbd_io "$socket" 'write -s pattern 1M 64k' 'write -P 0 2M 64k' flush
	nbdinfo --map=x-sealblk:encryption "$(nbd_uri "$socket")" >$image.map
	context=$([[ $image == plain ]] && echo 2 || echo 3)
	expect_equal "1048576,65536,$context" \
		"$(awk '$1 == 1048576 { print $1 "," $2 "," $3 }' $image.map)" "map of $image"
	stop_daemon
done
grep -aq "$secret" plain.seal || fail "not in the clear with encryption off"
grep -aq "$secret" sealed.seal && fail "in the clear with encryption on"

info() {
	"$sealblk" info --json "$1" | jq -r '"\(.encryption.enabled) \(.server_encrypted) \(.sectors.plain) \(.sectors.sealed)"'
}
expect_equal 'false false 256 0' "$(info plain.seal)" "info of the plain one"
expect_equal 'true true 0 256' "$(info sealed.seal)" "info of the sealed one"

expect_exit 3 "$sealblkd" --socket "$socket" --key-file key --require-encryption plain.seal
expect_output 'error: image plain.seal: .*--require-encryption'
expect_equal 1 "$(wc -l <output)" "lines printed"
start_daemon --socket "$socket" --key-file key --require-encryption sealed.seal
stop_daemon
