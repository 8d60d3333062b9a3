#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The README's tour, block by block, as it stands there but for the paths; what
# needs a kernel with nbd or a machine to boot is run by the guest tests.
. "$(dirname "$0")/../lib.sh"

need nbdinfo nbdcopy jq python3
PATH=$BUILD_DIR:$PATH
cd "$TEST_DIR"
"$BUILD_DIR/tests/mkvhd" --size 32M debian.vhd
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

# run_block NAME: shown, then run; any command that fails ends the test.
run_block() {
	local block
	block=$(readme_block "$1" /run/vm.sock "$TEST_DIR/vm.sock" 10809 "$port")
	echo "--- $1:"
	echo "$block"
	bash -euo pipefail -c "$block"
}

run_block create
read -ra serve <<<"$(readme_block serve /run/vm.sock "$TEST_DIR/vm.sock" 10809 "$port")"
expect_equal sealblkd "${serve[0]}" "what the block starts"
start_daemon "${serve[@]:1}"
run_block copy
head -c 32M debian.vhd >debian.vhd.raw
expect_same debian.vhd.raw disk.raw
nbd_io "$TEST_DIR/vm.sock" 'write -P 7 1M 64k' flush
run_block export
nbdcopy "nbd+unix:///?socket=$TEST_DIR/vm.sock" now.raw
head -c 32M now.vhd >now.vhd.raw
expect_same now.raw now.vhd.raw
run_block ask >asked
cat asked
grep -Eq '^ +1048576 +65536 +3' asked || fail "the written range is not sealed in nbdinfo's map"
expect_equal 128 "$(sealblk info --json vm.seal | jq .sectors.sealed)" "sealed sectors"
grep -q '<svg' disk.svg || fail "disk.svg is no picture"
run_block events >followed &
follower=$!
own_pid "$follower"
wait_for 5 grep -q 'encryption is on' followed || fail "no events"
run_block switch
expect_equal true "$(sealblk info --json vm.seal | jq '.sectors.base > 0')" "there is something to encrypt"
run_block rewrite
expect_equal "null true" "$(sealblk info --json vm.seal | jq -r '"\(.base) \(.server_encrypted)"')" "encrypted"
run_block keys
run_block revoke
nbd_io "$TEST_DIR/vm.sock" 'read -P 7 1M 64k'
stop_daemon
wait "$follower"
disown_pid "$follower"
grep -q 'encryption was switched off' followed || fail "no event of the switch"
grep -q 'the daemon stops' followed || fail "no event of the end"
expect_exit 4 sealblk key export --key-file vm.key vm.seal
expect_exit 0 sealblk key export --passphrase-file phrase vm.seal
mv new.key vm.key # the next block's
run_block switch
run_block check
run_block convert
set +m
run_block tls >tls.log
grep -q 'newstyle-fixed with TLS' tls.log || fail "no TLS"
