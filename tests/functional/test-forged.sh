#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Who can write to an image but has no key cannot make the daemon serve other
# sectors, another policy or fewer promises: every forgery with right checksums
# (tests/tools/forge.py) is refused or costs the sectors it touched, and nothing
# is written to what was refused.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
forge() {
	"$python" "$SRC_DIR/tests/tools/forge.py" "$@"
}

make_key key
make_random base.raw 8388608
for image in image other; do
	"$sealblk" create --base base.raw --key-file key "$image.seal"
	start_daemon --socket "$socket" --key-file key "$image.seal"
	nbd_io "$socket" 'write -P 1 0 1M' 'write -P 2 4M 64k'
	stop_daemon
done

# One whose block 0 differs in its slots: committed twice, then killed.
cp --sparse=always image.seal killed.seal
start_daemon --socket "$socket" --key-file key killed.seal
nbd_io "$socket" 'write -P 3 2M 4k'
nbd_io "$socket" 'write -P 4 3M 4k'
kill_daemon

# Block 0 is the first 3.875 MiB. A copy of a killed image has no dirty file of its own.
expect_block_damaged() {
	start_daemon --socket "$socket" --accept-loss --key-file key forged.seal
	expect_exit 1 nbd_io "$socket" 'read 0 512'
	nbd_io "$socket" 'read -P 2 4M 64k' 'write -P 5 5M 4k'
	expect_exit 1 nbd_io "$socket" 'write 0 512'
	stop_daemon
}

expect_refused() {
	local before
	before=$(digest forged.seal)
	expect_exit "$1" timeout 20 "$sealblkd" --socket "$socket" --key-file key forged.seal
	expect_equal 1 "$(grep -c error output)" "lines that say why"
	expect_equal "$before" "$(digest forged.seal)" "digest of what was refused"
}

nr=0
while read -r name outcome; do
	source=image.seal
	[[ $name != *after-a-kill ]] || source=killed.seal
	cp --sparse=always "$source" forged.seal
	forge "$name" forged.seal other.seal
	cmp -s "$source" forged.seal && fail "$name changes nothing"
	case $outcome in
	refused) expect_refused 3 ;;
	key) expect_refused 4 ;;
	block) expect_block_damaged ;;
	esac
	# Nobody may be told that it is sound.
	[[ $source == killed.seal ]] || [[ $("$sealblk" check --key-file key forged.seal) != *': clean' ]] ||
		fail "$name: check finds nothing"
	nr=$((nr + 1))
	echo "$name: $outcome"
done < <(forge --list)

# The images themselves were never the trouble.
for image in image killed; do
	start_daemon --socket "$socket" --accept-loss --key-file key "$image.seal"
	nbd_io "$socket" 'read -P 1 0 1M' 'read -P 2 4M 64k'
	stop_daemon
done
echo "figures: $nr forgeries, all refused or told"
((nr >= 25))
