#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# nbdinfo: what the daemon offers, and the two metadata contexts.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need nbdinfo qemu-img qemu-io jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
uri=$(nbd_uri "$socket")
make_key key
make_base base.vhd fixed 8
"$sealblk" create --base base.vhd --key-file key image.seal
"$sealblk" create --size 4M --encryption off --key-file key plain.seal
say='{ "exports": [{ "name": "told", "image": "%s/told.seal", "description": "the third, pl\303\244inly" }] }'
# shellcheck disable=SC2059  # it is a format
printf "$say" "$TEST_DIR" >policy.json
"$sealblk" create --size 4M --key-file key told.seal
start_daemon --socket "$socket" --key-file key --policy policy.json image.seal \
	--export plain=plain.seal

# ---- what it offers ------------------------------------------------------------------------
nbdinfo --json "$uri" >info.json
value() {
	jq -r ".exports[0].$1" info.json
}
expect_equal newstyle-fixed "$(jq -r .protocol info.json)" protocol
expect_equal true "$(jq -r .structured info.json)" structured
expect_equal 8388608 "$(value '"export-size"')" size
expect_equal '512 4096 33554432' \
	"$(value block_size_minimum) $(value block_size_preferred) $(value block_size_maximum)" blocks
expect_equal 'base:allocation x-sealblk:encryption' "$(value 'contexts | join(" ")')" contexts
for able in cache df fast_zero flush fua multi_conn trim zero; do
	expect_equal true "$(value "can_$able")" "can_$able"
done
for able in cache df fast-zero flush fua multi-conn trim write zero connect; do
	nbdinfo --can "$able" "$uri" || fail "nbdinfo --can $able"
done
expect_exit 2 nbdinfo --is read-only "$uri"
expect_exit 2 nbdinfo --is rotational "$uri"
expect_equal 8388608 "$(nbdinfo --size "$uri")" --size
expect_equal ' plain told' "$(nbdinfo --list --json "$uri" |
	jq -r '[.exports[]."export-name"] | sort | join(" ")')" exports
# descriptions: of each export, in the order of their names.
descriptions() {
	nbdinfo --list --json "$uri" |
		jq -r '[.exports | sort_by(."export-name") | .[].description] | join("; ")'
}
told="the third, $(printf 'pl\303\244inly')"
expect_equal "8 MiB over a base, encryption on; 4 MiB, encryption off; $told" "$(descriptions)" \
	descriptions
nbdinfo --list "$uri" >list
grep -q "\.seal" list && fail "a client was told a path"
"$sealblk" encryption on plain.seal
"$sealblk" encryption off image.seal
expect_equal "8 MiB over a base, encryption off; 4 MiB, encryption on; $told" "$(descriptions)" \
	"descriptions after switches"
"$sealblk" encryption off plain.seal
"$sealblk" encryption on image.seal

# ---- contexts --------------------------------------------------------------------------------
# extents CONTEXT [URI]: "offset length type", joined.
extents() {
	nbdinfo --map="$1" "${2:-$uri}" | awk '{ printf "%s%s %s %s", sep, $1, $2, $3; sep = ", " }'
}
# The base's second half is a hole: zero, and not allocated.
expect_equal '0 4194304 0, 4194304 4194304 1' "$(extents x-sealblk:encryption)" "fresh"
expect_equal '0 4194304 0, 4194304 4194304 3' "$(extents base:allocation)" "fresh"
nbd_io "$socket" 'write -P 1 512 512' 'discard 2M 64k' 'write -P 2 5M 1M'
wanted='0 512 0, 512 512 3, 1024 2096128 0, 2097152 65536 1, 2162688 2031616 0, '
wanted+='4194304 1048576 1, 5242880 1048576 3, 6291456 2097152 1'
expect_equal "$wanted" "$(extents x-sealblk:encryption)" "encryption, written"
wanted='0 2097152 0, 2097152 65536 3, 2162688 2031616 0, 4194304 1048576 3, 5242880 1048576 0, '
wanted+='6291456 2097152 3'
expect_equal "$wanted" "$(extents base:allocation)" "allocation, written"
qemu-io -f raw -c 'write -P 3 0 1M' "$(nbd_uri "$socket" plain)" >/dev/null
expect_equal '0 1048576 2, 1048576 3145728 1' \
	"$(extents x-sealblk:encryption "$(nbd_uri "$socket" plain)")" "a plain plane"
nbdinfo --map --totals "$uri" | awk '{ sum += $1 } END { exit sum != 8388608 }' ||
	fail "the totals are not the disk"
stop_daemon
