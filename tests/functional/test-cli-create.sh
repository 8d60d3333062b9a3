#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk create: what it makes, and that sealblk info says the same.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-img
cd "$TEST_DIR"
make_key key
echo 'correct horse' >passphrase
make_base base.vhd fixed 8

# info IMAGE FILTER: one value of info --json.
info() {
	"$sealblk" info --json "$1" | jq -r "$2"
}

# ---- a disk of its own ----------------------------------------------------------
expect_exit 0 "$sealblk" create --size 1G --key-file key plain.seal
expect_output '^created plain\.seal: disk of 1 GiB \(1073741824 bytes\), no base, encryption on$'
expect_equal 1 "$(wc -l <output)" "lines printed"
expect_equal 1073741824 "$(info plain.seal .disk_bytes)"
expect_equal null "$(info plain.seal .base)"
expect_equal true "$(info plain.seal .encryption.enabled)"
expect_equal clean "$(info plain.seal .state)"
expect_equal key-file "$(info plain.seal '.key_slots[].kind')"
expect_equal '2 sealed 3' "$(info plain.seal '.planes[] | "\(.map_value) \(.kind) \(.key_id)"')"
expect_equal 600 "$(stat -c %a plain.seal)" mode

# Sizes, units, and options after and before the verb.
while read -r size bytes; do
	expect_exit 0 "$sealblk" --size "$size" create "$size.seal" --key-file=key
	expect_equal "$bytes" "$(info "$size.seal" .disk_bytes)" "$size"
	rm "$size.seal"
done <<-'END'
	512 512
	1536 1536
	1K 1024
	3M 3145728
	2G 2147483648
	1T 1099511627776
END

# A large disk costs next to nothing, and its report is quick.
expect_exit 0 "$sealblk" create --size 2T --key-file key large.seal
(($(info large.seal .allocated_bytes) < 1024 * 1024)) || fail "2 TiB cost more than 1 MiB"
expect_equal 4294967296 "$(timeout 5 "$sealblk" info --json large.seal | jq .sectors.zero)"

# ---- encryption, passphrase -----------------------------------------------------
expect_exit 0 "$sealblk" create --size 1M --passphrase-file passphrase --encryption off off.seal
expect_output 'encryption off$'
expect_equal false "$(info off.seal .encryption.enabled)"
expect_equal null "$(info off.seal .encryption.last_enabled_time)"
expect_equal passphrase "$(info off.seal '.key_slots[].kind')"
expect_equal plain "$(info off.seal '.planes[].kind')"
expect_exit 0 "$sealblk" create --size 1M --passphrase-file <(cat passphrase) pipe.seal

# ---- a base ---------------------------------------------------------------------
cp base.vhd base.before
expect_exit 0 "$sealblk" create --base base.vhd --key-file key based.seal
expect_output 'base base\.vhd \(vhd, 8 MiB\), encryption on$'
expect_equal 8388608 "$(info based.seal .disk_bytes)"
expect_equal 'vhd base.vhd 8388608 true' \
	"$(info based.seal '.base | "\(.format) \(.path) \(.disk_bytes) \(.found)"')"
expect_equal "$TEST_DIR/base.vhd" "$(info based.seal .base.path_absolute)"
expect_equal sha256-full "$(info based.seal .base.digest_kind)"
expect_same base.before base.vhd

# The format said wins over the one found; a colon may be part of a path.
expect_exit 0 "$sealblk" create --base base.vhd:raw --key-file key raw.seal
expect_equal raw "$(info raw.seal .base.format)"
expect_equal "$(stat -c %s base.vhd)" "$(info raw.seal .disk_bytes)"
cp base.vhd.raw 'odd:name'
expect_exit 0 "$sealblk" create --base 'odd:name' --key-file key odd.seal
expect_equal odd:name "$(info odd.seal .base.path)"
expect_exit 0 "$sealblk" create --base 'odd:name:raw' --key-file key odd2.seal
expect_equal odd:name "$(info odd2.seal .base.path)"

# A disk larger than its base; a sampled digest unless all of it is asked for.
expect_exit 0 "$sealblk" create --base base.vhd --size 1G --key-file key larger.seal
expect_equal 1073741824 "$(info larger.seal .disk_bytes)"
truncate -s 1G large.raw
expect_exit 0 "$sealblk" create --base large.raw --key-file key sampled.seal
expect_equal sha256-sampled "$(info sampled.seal .base.digest_kind)"
expect_exit 0 "$sealblk" create --base large.raw --base-sha256 --key-file key full.seal
expect_equal sha256-full "$(info full.seal .base.digest_kind)"

# Paths that are not UTF-8 do not spoil the JSON.
name=$(printf 'b\377se')
cp base.vhd.raw "$name"
expect_exit 0 "$sealblk" create --base "$name" --key-file key foreign.seal
expect_equal 'b?se' "$(info foreign.seal .base.path)"

# Two images are never alike.
expect_exit 0 "$sealblk" create --size 1M --key-file key one.seal
expect_exit 0 "$sealblk" create --size 1M --key-file key two.seal
[[ $(info one.seal .uuid) != "$(info two.seal .uuid)" ]] || fail "one UUID for two images"

[[ -z $(find . -name '*.new-*') ]] || fail "temporary files are left"
