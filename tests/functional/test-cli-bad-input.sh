#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk told nonsense: the right exit code, one clear line, nothing left behind.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
mkdir work
cd work
make_key key
head -c 31 key >short-key
head -c 4097 /dev/zero >long-key
: >empty
echo >empty-line
make_random junk $((2 * 1024 * 1024))
truncate -s 8M base.raw
"$sealblk" create --size 1M --key-file key good.seal
cp good.seal good.before

files=$(find . | sort)

# refuse EXIT PATTERN ARGUMENT...: one line, and no file more or less.
refuse() {
	local status=$1 pattern=$2
	shift 2
	expect_exit "$status" "$sealblk" "$@"
	expect_equal 1 "$(wc -l <"$TEST_DIR/output")" "lines printed"
	expect_output "^sealblk: .*$pattern"
	expect_equal "$files" "$(find . | sort)" files
}

# ---- usage: 2 -------------------------------------------------------------------
refuse 2 'no verb'
refuse 2 'unknown verb frob' frob
refuse 2 'unknown verb frob' frob --help
refuse 2 'option --frob' info --frob good.seal
refuse 2 'option --frob' --frob
refuse 2 'option -x' info -x good.seal
refuse 2 'no image' info
refuse 2 'no image' create --size 1M --key-file key
refuse 2 'no image' info ''
refuse 2 'one image' info good.seal junk
refuse 2 'info: takes no --size' info --size 1M good.seal
refuse 2 'create: takes no --json' create --json --size 1M --key-file key new
refuse 2 '--json takes no value' info --json=yes good.seal
refuse 2 '--size wants N' create new --key-file key --size
refuse 2 'how large' create --key-file key new
refuse 2 'wants a key' create --size 1M new
refuse 2 'one key' create --size 1M --key-file key --passphrase-file key new
refuse 2 'one key' create --size 1M --key-file key --key-file key new
refuse 2 '--key-file' create --size 1M --key-file '' new
refuse 2 '--base-sha256 wants --base' create --size 1M --base-sha256 --key-file key new
refuse 2 '--encryption maybe' create --size 1M --encryption maybe --key-file key new
refuse 2 'names no file' create --base :raw --key-file key new
for size in 0 1 511 513 1000; do
	refuse 2 'multiple of 512' create --size "$size" --key-file key new
done
for size in 65T 99999999999999999999 18446744073709551616K 17592186044416T; do
	refuse 2 '64T at most' create --size "$size" --key-file key new
done
for size in '' -512 +512 ' 512' 0x200 1Q 1MB 1.5G G 512q; do
	refuse 2 'not a size' create --size "$size" --key-file key new
done

# ---- operation failed: 1 --------------------------------------------------------
refuse 1 'good.seal: exists already' create --size 1M --key-file key good.seal
refuse 1 'exists already' create --size 1M --key-file key .
refuse 1 'is the base itself' create --base junk --key-file key junk
refuse 1 'key file none: .*No such file' create --size 1M --key-file none new
refuse 1 'key file short-key: a key has 32 to 4096' create --size 1M --key-file short-key new
refuse 1 'key file long-key: a key has 32 to 4096' create --size 1M --key-file long-key new
refuse 1 'directory' create --size 1M --key-file . new
refuse 1 'passphrase file empty: ' create --size 1M --passphrase-file empty new
refuse 1 'passphrase file empty-line: ' create --size 1M --passphrase-file empty-line new
refuse 1 'base none: .*No such file' create --base none --key-file key new
refuse 3 'base empty: the file is empty' create --base empty --key-file key new
refuse 1 'base \.: ' create --base . --key-file key new
refuse 3 'base junk: .*VHD footer' create --base junk:vhd --key-file key new
refuse 1 '--size cannot make it smaller' create --base base.raw --size 1M --key-file key new
refuse 1 'none/new: .*No such file' create --size 1M --key-file key none/new
refuse 1 'none: .*No such file' info none
refuse 1 'neither a file nor a disk' info /dev/null
refuse 3 'source /dev/null: neither a file nor a disk' import /dev/null --key-file key new
refuse 3 'base /dev/null: neither a file nor a disk' create --base /dev/null --key-file key new
refuse 1 'directory' map .
(
	ulimit -f 1024
	refuse 1 'largest file' create --size 1G --key-file key new
)
if [[ -c /dev/full ]]; then
	"$sealblk" info good.seal >/dev/full 2>"$TEST_DIR/full" && fail "a full stdout is success"
	grep -q 'standard output: cannot be written' "$TEST_DIR/full" || fail "not said: full stdout"
fi

# ---- image refused: 3 -----------------------------------------------------------
for verb in info map; do
	refuse 3 'empty: too short' "$verb" empty
	refuse 3 'junk: not a sealblk image' "$verb" junk
done

# Control characters of a name do not reach the terminal.
refuse 1 'a\?\[31mb' info "$(printf 'a\033[31mb')"

expect_same good.before good.seal

# ---- help -----------------------------------------------------------------------
expect_exit 0 "$sealblk" --version
expect_output '^sealblk [0-9]+\.[0-9]+'
expect_exit 0 "$sealblk" --help
expect_output '^usage: sealblk VERB'
for verb in create info map check; do
	expect_exit 0 "$sealblk" --help
	expect_output "^  $verb "
	expect_exit 0 "$sealblk" "$verb" --help
	expect_output "^usage: sealblk $verb "
	expect_output '^  --help '
done
