#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Keys from a systemd credential and from the kernel's keyring: bytes like a key
# file's, for both programs; and one clear line when there is none.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io keyctl
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
mkdir credentials
make_key credentials/vm
make_key kernel
head -c 31 /dev/urandom >credentials/short
head -c 4097 /dev/urandom >credentials/long

# Of this shell's own, for it and what it starts.
keyctl new_session >/dev/null 2>&1 || skip "needs a keyring of the kernel"
add_key() {
	keyctl padd user "$1" @s <"$2" >/dev/null || skip "needs a keyring of the kernel"
}
add_key vm-key kernel
add_key short credentials/short
add_key long credentials/long

# opens IMAGE KEYSOURCE...
opens() {
	expect_exit 0 "$sealblk" key export --output "$TEST_DIR/raw" "${@:2}" "$1"
	rm "$TEST_DIR/raw"
}

# serves KEYSOURCE...: what is written is read back, and the key is the one of the file.
serves() {
	start_daemon --socket "$socket" "$@" image.seal
	nbd_io "$socket" 'write -P 5 0 64k' flush 'read -P 5 0 64k'
	stop_daemon
}

# refuse PATTERN COMMAND...: exit 1, one line.
refuse() {
	local pattern=$1
	shift
	expect_exit 1 "$@"
	expect_output "$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
}

# ---- without credentials --------------------------------------------------------
unset CREDENTIALS_DIRECTORY
no_credentials='credential vm: there are no credentials: CREDENTIALS_DIRECTORY is not set$'
refuse "^sealblk: $no_credentials" "$sealblk" create --size 4M --credential vm image.seal
"$sealblk" create --size 4M --key-file credentials/vm image.seal
refuse "error: $no_credentials" "$sealblkd" --socket "$socket" --credential vm image.seal

# ---- a credential ---------------------------------------------------------------
export CREDENTIALS_DIRECTORY=$TEST_DIR/credentials
opens image.seal --credential vm
serves --credential vm
for program in "$sealblk check" "$sealblkd --socket $socket"; do
	read -ra words <<<"$program"
	refuse 'credential none: cannot be read: No such file' "${words[@]}" --credential none image.seal
	refuse 'credential \.\./kernel: is not the name' "${words[@]}" --credential ../kernel image.seal
	refuse 'credential short: a key has 32 to 4096 bytes' "${words[@]}" --credential short image.seal
	refuse 'credential long: a key has 32 to 4096 bytes' "${words[@]}" --credential long image.seal
	refuse 'kernel key none: cannot be read: Required key not available' \
		"${words[@]}" --keyring none image.seal
	refuse 'kernel key short: a key has 32 to 4096 bytes' "${words[@]}" --keyring short image.seal
	refuse 'kernel key long: a key has 32 to 4096 bytes' "${words[@]}" --keyring long image.seal
	expect_exit 4 "${words[@]}" --keyring vm-key image.seal
done
expect_exit 2 "$sealblk" check --keyring '' image.seal
expect_output '^sealblk: check: --keyring : names nothing'

# ---- a key of the kernel --------------------------------------------------------
expect_exit 0 "$sealblk" key rotate --credential vm --new-keyring vm-key image.seal
opens image.seal --keyring vm-key
opens image.seal --key-file kernel
serves --keyring vm-key
expect_exit 4 "$sealblk" check --credential vm image.seal
expect_exit 0 "$sealblk" key add --keyring vm-key --new-credential vm image.seal
opens image.seal --key-file credentials/vm
keyctl purge -s user vm-key >/dev/null
refuse 'kernel key vm-key: ' "$sealblk" check --keyring vm-key image.seal
