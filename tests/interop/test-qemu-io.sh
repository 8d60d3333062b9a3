#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# qemu-io: patterns, zeros with and without holes, discards, FUA, single sectors;
# the same commands on a plain file give the same bytes.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io qemu-img jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
uri=$(nbd_uri "$socket")
make_key key
make_base base.vhd fixed 16
cp base.vhd.raw expected.raw
"$sealblk" create --base base.vhd --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal

both() {
	local command args=()
	nbd_io "$socket" "$@"
	for command; do args+=(-c "$command"); done
	qemu-io -f raw -d unmap "${args[@]}" expected.raw >>expected.log
}

# sealed DELTA COMMAND...: that many more sectors are sealed afterwards.
counted=0
sealed() {
	local delta=$1
	shift
	both "$@"
	counted=$((counted + delta))
	expect_equal "$counted" "$("$sealblk" info --json image.seal | jq .sectors.sealed)" \
		"sealed sectors after $*"
}

sealed 128 'write -P 1 0 64k' 'read -P 1 0 64k'
sealed 3 'write -P 2 1049088 1536' 'read -P 2 1049088 1536'
sealed 1 'write -f -P 3 2M 512' 'read -P 3 2M 512'
sealed 0 'write -P 4 512 512' 'write -f -P 5 1k 512' 'read -P 1 0 512' 'read -P 4 512 512'
# Zeros that keep their space are sealed like data; those that may be holes are not stored.
sealed 128 'write -z 3M 64k' 'read -P 0 3M 64k'
sealed 0 'write -z -u 4M 64k' 'read -P 0 4M 64k'
sealed -128 'write -z -u 3M 64k' 'read -P 0 3M 64k'
sealed -1 'discard 512 512' 'read -P 0 512 512' 'read -P 1 0 512'
sealed 0 'discard 12M 1M' 'write -z -u 13M 1M' 'read -P 0 12M 2M'
sealed 2048 'aio_write -P 6 5M 512k' 'aio_write -P 7 5632k 512k' 'aio_flush' 'read -P 6 5M 512k'
sealed 0 'aio_write -z -u -f 14M 64k' aio_flush 'aio_read -P 0 14M 64k' aio_flush
# All of the disk, in the largest requests.
sealed $((32768 - 128 - 3 - 1 + 1 - 2048)) 'write -P 8 0 16M' 'read -P 8 0 16M'
both 'write -z 0 16M' 'write -P 9 8126976 512' 'writev -P 10 1M 512 1024 4096' \
	'readv -P 10 1M 512 1024 4096'

cmp_disk() {
	qemu-img compare -f raw -F raw expected.raw "$uri"
}
cmp_disk
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
cmp_disk
stop_daemon
