# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What functional and interop tests share. A test begins with
#
#   #!/usr/bin/env bash
#   . "$(dirname "$0")/../lib.sh"
#
# and may also be run by hand: it then uses build/ and a folder under /tmp.
# Everything a test starts is stopped when it ends, by process id.
set -euo pipefail

if [[ -z ${TEST_DIR:-} ]]; then
	SRC_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
	BUILD_DIR=$(realpath -m "${BUILD_DIR:-$SRC_DIR/build}")
	TEST_DIR=$(mktemp -d /tmp/sb.XXXXXX)
	XDG_RUNTIME_DIR=$TEST_DIR/run
	mkdir -m 700 "$XDG_RUNTIME_DIR"
	export SRC_DIR BUILD_DIR TEST_DIR XDG_RUNTIME_DIR
	own_test_dir=1
fi

# shellcheck disable=SC2034  # used by the tests
sealblk=$BUILD_DIR/sealblk
sealblkd=$BUILD_DIR/sealblkd
daemon_pid=	# of the daemon started last
daemon_log=	# what it printed
started_pids=()

cleanup() {
	local status=$? pid
	trap - EXIT ERR INT TERM
	set +e
	for pid in ${started_pids+"${started_pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	if ((status != 0 && status != 77)) && [[ $daemon_log && -s $daemon_log ]]; then
		echo "--- what the daemon printed:"
		cat "$daemon_log"
	fi
	[[ ${own_test_dir:-} ]] && rm -rf "$TEST_DIR"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'echo "failed: line $LINENO: $BASH_COMMAND" >&2' ERR
set -E

fail() {
	echo "failed: line ${BASH_LINENO[0]}: $*" >&2
	exit 1
}

# readme_block NAME [OLD NEW]...: the commands that the README marks so, with OLD replaced.
readme_block() {
	doc_block README.md "$@"
}

# doc_block PAGE NAME [OLD NEW]...: the same of another page.
doc_block() {
	local block
	block=$(awk -v mark="<!-- tested: $2 -->" '
		$0 == mark { found = 1; next }
		found && /^```/ { if (inside) exit; inside = 1; next }
		inside' "$SRC_DIR/$1")
	[[ $block ]] || fail "$1 has no block \"$2\""
	shift 2
	while (($#)); do
		block=${block//"$1"/"$2"}
		shift 2
	done
	printf '%s\n' "$block"
}

# The reason is the last line printed.
skip() {
	echo "$*"
	exit 77
}

# need TOOL...: skips the test where a program is missing.
need() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || skip "needs $tool"
		# LeakSanitizer fails where somebody else traces.
		[[ $tool != strace ]] || export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
	done
}

# libnbd's module belongs to the system's python, which need not be the first in PATH.
python=/usr/bin/python3
need_libnbd() {
	"$python" -c 'import nbd' 2>/dev/null || skip "needs python3-libnbd"
}

# expect_exit STATUS COMMAND...: its output goes to $TEST_DIR/output as well.
expect_exit() {
	local wanted=$1 status=0
	shift
	"$@" >"$TEST_DIR/output" 2>&1 || status=$?
	cat "$TEST_DIR/output"
	((status == wanted)) || fail "exit $status, not $wanted: $*"
}

# free_port [ADDRESS]: prints a TCP port that nobody uses at the moment.
free_port() {
	"$python" -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.bind((sys.argv[1], 0))
print(s.getsockname()[1])' "${1:-127.0.0.1}"
}

# expect_equal WANTED GOT [WHAT]
expect_equal() {
	[[ $1 == "$2" ]] || fail "${3:-value}: wanted '$1', got '$2'"
}

# expect_output PATTERN: what the last expect_exit printed matches the extended regular expression.
expect_output() {
	grep -Eq -- "$1" "$TEST_DIR/output" || fail "not printed: $1"
}

# expect_same FILE FILE: the same bytes.
expect_same() {
	cmp "$1" "$2" || fail "$1 and $2 differ"
}

# own_pid PID: a process this test started itself; killed at the end if still there.
own_pid() {
	started_pids+=("$1")
}

disown_pid() {
	local pid left=()
	for pid in ${started_pids+"${started_pids[@]}"}; do
		[[ $pid == "$1" ]] || left+=("$pid")
	done
	started_pids=(${left+"${left[@]}"})
}

# wait_for SECONDS COMMAND...: until it succeeds; returns 1 when the time is up.
wait_for() {
	local tries=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		((tries-- > 0)) || return 1
		sleep 0.05
	done
}

daemon_is_ready_or_gone() {
	grep -q ready "$daemon_log" || ! kill -0 "$daemon_pid" 2>/dev/null
}

# start_daemon ARGUMENT...: returns when it serves; sets daemon_pid and daemon_log. It gets start_s
# seconds to do so.
start_s=30
start_daemon() {
	daemon_log=$(mktemp "$TEST_DIR/daemon.XXXXXX")
	"$sealblkd" "$@" >"$daemon_log" 2>&1 </dev/null &
	daemon_pid=$!
	own_pid "$daemon_pid"
	wait_for "$start_s" daemon_is_ready_or_gone || fail "the daemon is not ready after $start_s s"
	grep -q ready "$daemon_log" || fail "the daemon did not start"
}

# listener_modes: of the daemon's listening sockets, control sockets apart: how many are in
# blocking mode, and how many are not. What is ready may be gone when it is accepted.
listener_modes() {
	local fd flags inode blocking=0 not=0
	for fd in /proc/"$daemon_pid"/fd/*; do
		inode=$(readlink "$fd") inode=${inode#socket:[} inode=${inode%]}
		awk -v inode="$inode" '
			FILENAME ~ /unix/ ? $4 == "00010000" && $7 == inode && $8 !~ /[.]sock/ : \
				$4 == "0A" && $10 == inode { found = 1 }
			END { exit !found }' /proc/net/unix /proc/net/tcp* || continue
		flags=$(awk '$1 == "flags:" { print $2 }' "/proc/$daemon_pid/fdinfo/${fd##*/}")
		((0$flags & 04000)) && not=$((not + 1)) || blocking=$((blocking + 1))
	done
	echo "$blocking blocking, $not not"
}

# stop_daemon [PID]: asks it to end, and wants exit 0.
stop_daemon() {
	local pid=${1:-$daemon_pid} status=0
	kill -TERM "$pid"
	wait "$pid" || status=$?
	disown_pid "$pid"
	((status == 0)) || fail "the daemon ended with $status"
}

# kill_daemon [PID]: like a crash, kill -9.
kill_daemon() {
	local pid=${1:-$daemon_pid}
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
	disown_pid "$pid"
}

# control_socket IMAGE: the path of its control socket, were it served. Needs jq.
control_socket() {
	local folder=$XDG_RUNTIME_DIR/sealblk
	((EUID == 0)) && folder=/run/sealblk
	echo "$folder/$("$sealblk" info --json "$1" | jq -r .uuid).sock"
}

# nbd_uri SOCKET [EXPORT]
nbd_uri() {
	echo "nbd+unix:///${2:-}?socket=$1"
}

# nbd_io SOCKET COMMAND...: qemu-io's commands, given to the disk; one failing is a failure. Without
# -t writeback every write would be FUA. A flush comes at the end.
nbd_io() {
	local socket=$1 command args=()
	shift
	for command; do args+=(-c "$command"); done
	qemu-io -f raw -t writeback -d unmap "${args[@]}" "$(nbd_uri "$socket")" \
		>>"$TEST_DIR/qemu-io.log" || {
		tail -n 5 "$TEST_DIR/qemu-io.log" >&2
		return 1
	}
}

# flip_byte FILE OFFSET...: each byte there becomes another.
flip_byte() {
	local file=$1 at byte
	shift
	for at; do
		byte=$(od -An -tu1 -j "$at" -N 1 "$file")
		# shellcheck disable=SC2059  # the format is the byte
		printf "\\x$(printf %x $((byte ^ 0xff)))" |
			dd of="$file" bs=1 seek="$at" conv=notrunc status=none
	done
}

# digest FILE
digest() {
	sha256sum <"$1"
}

# make_key FILE: a key file of 64 random bytes.
make_key() {
	(umask 077 && head -c 64 /dev/urandom >"$1")
}

# make_random FILE BYTES
make_random() {
	head -c "$2" /dev/urandom >"$1"
}

# make_vhd FILE fixed|dynamic RAW: a VHD of the bytes of RAW, whose length is a multiple of 1 MiB.
make_vhd() {
	need qemu-img
	qemu-img convert -f raw -O vpc -o "subformat=$2,force_size=on" "$3" "$1"
}

# make_base FILE fixed|dynamic MIB: a VHD with random bytes in its first half and a hole behind
# them; the same bytes as FILE.raw for comparing.
make_base() {
	make_random "$1.raw" $(($3 * 1024 * 1024 / 2))
	truncate -s "$3M" "$1.raw"
	make_vhd "$1" "$2" "$1.raw"
}
