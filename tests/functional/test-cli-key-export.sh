#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk key export: what it prints, and when it gives nothing away. That the
# key is the right one, dm-crypt shows in tests/guest/test-dm-crypt.sh.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need xxd
cd "$TEST_DIR"
make_key key
make_key other
"$sealblk" create --size 3T --key-file key image.seal
"$sealblk" create --size 1M --encryption off --key-file key plain.seal

# export_key ARGUMENT...: the key on standard output, nothing else.
export_key() {
	"$sealblk" key export --key-file key image.seal "$@" 2>warning
}

# ---- the same key in either shape -----------------------------------------------
hex=$(export_key)
[[ $hex =~ ^[0-9a-f]{128}$ ]] || fail "not 128 hex digits"
grep -q '^sealblk: this key opens TiB 0 of plane 2 of image\.seal' warning || fail "no warning"
expect_equal "$hex" "$(export_key --tib 0 --plane 2)" "the defaults"
export_key --output raw >stdout
expect_equal 0 "$(stat -c %s stdout)" "bytes on standard output"
expect_equal "$hex" "$(xxd -p -c 64 raw)" "--output"
expect_equal 600 "$(stat -c %a raw)" mode

# ---- each TiB has a key of its own ----------------------------------------------
expect_equal 3 "$(for tib in 0 1 2; do export_key --tib "$tib"; done | sort -u | wc -l)" keys
expect_exit 1 "$sealblk" key export --key-file key --tib 3 image.seal
expect_output 'ends in its TiB 2$'

# ---- refused, and nothing printed or written ------------------------------------
# refuse EXIT PATTERN ARGUMENT...
refuse() {
	local status=$1 pattern=$2
	shift 2
	expect_exit "$status" "$sealblk" key export "$@"
	expect_output "^sealblk: .*$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	[[ ! -e new ]] || fail "a file was written"
}

refuse 4 'none of the keys' --key-file other --output new image.seal
refuse 1 'exists' --key-file key --output raw image.seal
refuse 1 'No such file' --key-file key --output none/new image.seal
refuse 1 'has no plane 3' --key-file key --plane 3 --output new image.seal
refuse 1 'is plain' --key-file key --output new plain.seal
refuse 2 'wants a key' --output new image.seal
refuse 2 'no image' --key-file key
refuse 2 'numbers 2 to 15' --key-file key --plane 1 image.seal
refuse 2 'TiB 0 to 63' --key-file key --tib 64 image.seal
refuse 2 'takes no --json' --key-file key --json image.seal
expect_equal "$hex" "$(xxd -p -c 64 raw)" "the file that was there"
expect_exit 2 "$sealblk" key
expect_output 'unknown verb key: did you mean key list'
expect_exit 2 "$sealblk" key forget --key-file key image.seal
expect_output 'unknown verb key forget: '
expect_exit 0 "$sealblk" key export --help
expect_output '^usage: sealblk key export '

start_daemon --socket "$TEST_DIR/s" --key-file key image.seal
refuse 1 'is being served' --key-file key --output new image.seal
stop_daemon
expect_equal "$hex" "$(export_key)" "after it was served"
