#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Clients that mean harm: others keep four fifths of their throughput, and memory
# stays within what docs/security.md says. See hostile.py.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need nbdcopy
cd "$TEST_DIR"
make_key key
"$sealblk" create --size 128M --key-file key image.seal
start_daemon --socket "$TEST_DIR/s" --key-file key --workers 2 image.seal
head -c 128M /dev/urandom >data
nbdcopy --flush data "$(nbd_uri "$TEST_DIR/s")"
rounds=4
[[ -z ${SEALBLK_LONG:-} ]] || rounds=15
"$python" "$SRC_DIR/tests/interop/hostile.py" "$TEST_DIR/s" "$daemon_pid" \
	"$BUILD_DIR/tests/nbdload" $rounds
stop_daemon
