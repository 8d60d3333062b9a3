#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Looks at the daemon and at other servers with nbd-conformance, and writes the table of
# docs/nbd-conformance.md. Needs nbdkit, qemu-nbd and nbd-server (make setup, and
# tools/setup.sh bench); takes some minutes, since some of them have to be waited for.
#
#   tests/interop/conformance-table.sh [RESULTS]    RESULTS: a folder for what --json prints
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/conforms.sh"

need nbdkit qemu-nbd nbd-server
page=$SRC_DIR/docs/nbd-conformance.md
results=$(realpath -m "${1:-$TEST_DIR/results}")
mkdir -p "$results"
cd "$TEST_DIR"

# listen_alone COMMAND...: for a server that goes to the background and writes ./pid.
listen_alone() {
	rm -f pid
	"$@"
	while kill -0 "$(cat pid)"; do sleep 0.2; done
}

# serve COMMAND...: starts it again whenever it dies, which some do when they are looked at.
serve() {
	(
		trap 'kill "$child" $([[ -f pid ]] && cat pid) 2>/dev/null; exit 0' TERM
		while true; do
			"$@" >>server.log 2>&1 &
			child=$!
			wait "$child" || sleep 0.1
			rm -f peer
			echo "ended: $1" >>ends.log
		done
	) &
	server=$!
	own_pid "$server"
	wait_for 10 test -S peer || fail "$1 does not listen"
}

stop() {
	kill -TERM "$server"
	wait "$server" 2>/dev/null || true
	disown_pid "$server"
	rm -f peer
}

# look NAME EXPORT COMMAND...: NAME.json is what the server that listens on ./peer is found to be.
look() {
	local name=$1 export=$2
	shift 2
	: >ends.log
	serve "$@"
	"${conformance[@]}" --json "$(nbd_uri "$TEST_DIR/peer" "$export")" >"$results/$name.json" || true
	stop
	grep -c ended ends.log >"$results/$name.ends" || true
	echo "$name: $(jq -c .counts "$results/$name.json")" >&2
}

look_at_ours() {
	make_key key
	"$sealblk" create --size 64M --key-file key first.seal >/dev/null
	"$sealblk" create --size 64M --key-file key second.seal >/dev/null
	start_daemon --socket peer --key-file key --export second=second.seal first.seal
	"${conformance[@]}" --json "$(nbd_uri "$TEST_DIR/peer")" >"$results/sealblkd.json" || true
	stop_daemon
	start_daemon --socket peer --key-file key --read-only --export second=second.seal first.seal
	"${conformance[@]}" --json "$(nbd_uri "$TEST_DIR/peer")" >"$results/sealblkd-ro.json" || true
	stop_daemon
}

# nbd_server_config READ-ONLY: two exports, and all that can be switched on.
nbd_server_config() {
	printf '[generic]\n\tunixsock = %s\n\tallowlist = true\n' "$TEST_DIR/peer"
	for export in first second; do
		printf '[%s]\n\texportname = %s\n\treadonly = %s\n' "$export" "$TEST_DIR/$export.raw" "$1"
		printf '\tflush = true\n\tfua = true\n\ttrim = true\n'
	done
}

look_at_ours
truncate -s 64M first.raw second.raw
look nbdkit "" nbdkit -f -U peer memory 64M
look nbdkit-ro "" nbdkit -f -r -U peer memory 64M
look nbdkit-file "" nbdkit -f -U peer file first.raw
look nbdkit-file-ro "" nbdkit -f -r -U peer file first.raw
look qemu-nbd first qemu-nbd -t -e 16 -x first -k "$TEST_DIR/peer" -f raw --discard=unmap first.raw
look qemu-nbd-ro first qemu-nbd -t -r -e 16 -x first -k "$TEST_DIR/peer" -f raw first.raw
nbd_server_config false >config
nbd_server_config true >config-ro
look nbd-server first listen_alone nbd-server -C "$TEST_DIR/config" -p "$TEST_DIR/pid"
look nbd-server-ro first listen_alone nbd-server -C "$TEST_DIR/config-ro" -p "$TEST_DIR/pid"

those_that_ended() {
	local file times found=()
	for file in "$results"/*.ends; do
		times=$(cat "$file")
		((times == 0)) || found+=("$(basename "$file" .ends) ($times)")
	done
	local IFS=,
	echo "${found[*]:-none}"
}

# version COMMAND...: the first number with a point that it prints.
version() {
	"$@" 2>&1 | grep -oE '[0-9]+\.[0-9.]*[0-9]' | head -n 1
}

{
	cat <<END
# sealblkd and other servers, held against the protocol's text

Made by \`tests/interop/conformance-table.sh\`: what [\`tests/interop/nbd-conformance\`](nbd.md) finds, row by row.
A row is a demand, in our words, of \`doc/proto.md\` of the NBD project (with extended headers, of its branch
\`extension-ext-header\`), under the heading where it stands there. \`make check\` runs all rows against sealblkd, over both
kinds of socket and read-only; a row's name is what \`--only\` takes.

* **ok**: the demand is met; behind it, what was seen where the text leaves a choice.
* **not ok**: it is not; the note says what was seen. Some demands have a note of their own: others may read the text differently.
* **lacks it**: the server does not have what the demand is about, and need not have it.
* **n/a**: there was nothing to see for another reason.

Exports of 64 MiB, writable; what is about read-only exports was found on one of those. Looked at were
nbdkit $(version nbdkit --version) with its plugins memory and file, qemu-nbd $(version qemu-nbd --version) and
nbd-server $(version nbd-server -V) with flush, fua, trim and its list switched on, all as Debian has them. Newer ones
may differ, and where it is a matter of timing (\`disc-finishes\`, \`disc-finishes-writes\`) so may another run. Those that
ended when they were looked at were started again: $(those_that_ended).

END
	"${conformance[@]}" --table "sealblkd=$results/sealblkd.json,$results/sealblkd-ro.json" \
		"nbdkit memory=$results/nbdkit.json,$results/nbdkit-ro.json" \
		"nbdkit file=$results/nbdkit-file.json,$results/nbdkit-file-ro.json" \
		"qemu-nbd=$results/qemu-nbd.json,$results/qemu-nbd-ro.json" \
		"nbd-server=$results/nbd-server.json,$results/nbd-server-ro.json"
} >"$TEST_DIR/page.md"
mv "$TEST_DIR/page.md" "$page"
