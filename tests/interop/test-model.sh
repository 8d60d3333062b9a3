#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Random requests compared with a model of the disk, while the daemon is stopped
# and killed: see tests/model/model.c. Once over a shared base, which stays as it
# is, and once over an owned one, which keeps what the disk still reads from it and
# nothing else. SEED=N repeats a run.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$BUILD_DIR/tests/mkvhd" --size 64M base.vhd
before=$(digest base.vhd)
"$sealblk" create --base base.vhd --key-file key image.seal

ops=20000 phases=6
[[ ${SEALBLK_LONG:-} ]] && ops=500000 phases=40
daemon_log=$TEST_DIR/daemon.log
# run IMAGE
run() {
	"$BUILD_DIR/tests/model" ${SEED:+--seed "$SEED"} --ops $ops --phases $phases \
		"$TEST_DIR/s" base.vhd -- "$sealblkd" --socket "$TEST_DIR/s" --key-file key \
		--workers 2 "$1" 2>>"$daemon_log"
}
run image.seal
expect_equal "$before" "$(digest base.vhd)" "the base's digest"

cp base.vhd own.vhd
"$sealblk" create --base own.vhd --own-base --key-file key own.seal
run own.seal
start_daemon --socket "$TEST_DIR/s" --key-file key own.seal
stop_daemon
"$sealblk" map --json own.seal >map.json
"$python" - <<'PY'
import json, sys
base, own = (open(name, "rb").read() for name in ("base.vhd", "own.vhd"))
gone = 0
for extent in json.load(open("map.json"))["extents"]:
    first = extent["offset_bytes"]
    end = first + extent["length_bytes"]
    kept = extent["state"] == "base"
    if own[first:end] != (base[first:end] if kept else bytes(end - first)):
        sys.exit(f"the owned base is wrong in {extent}")
    gone += not kept and any(base[first:end])
sys.exit(not gone)
PY
