#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Random requests compared with a model of the disk, while the daemon is stopped
# and killed: see tests/model/model.c. SEED=N repeats a run.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$BUILD_DIR/tests/mkvhd" --size 64M base.vhd
before=$(digest base.vhd)
"$sealblk" create --base base.vhd --key-file key image.seal

ops=20000 phases=6
[[ ${SEALBLK_LONG:-} ]] && ops=1000000 phases=40
daemon_log=$TEST_DIR/daemon.log
"$BUILD_DIR/tests/model" ${SEED:+--seed "$SEED"} --ops $ops --phases $phases \
	"$TEST_DIR/s" base.vhd -- "$sealblkd" --socket "$TEST_DIR/s" --key-file key --workers 2 \
	image.seal 2>>"$daemon_log"
expect_equal "$before" "$(digest base.vhd)" "the base's digest"
