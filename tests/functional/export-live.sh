# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What tests of exports of a served image.seal share, beside lib.sh, which comes first.
# shellcheck disable=SC2154  # lib.sh's
# shellcheck disable=SC2034  # used by the tests

# begin_export DEST SECONDS: one in the background, which has begun, and for so long does not get
# its first pieces written; its pid: $exporter, and that of strace: $tracer.
begin_export() {
	strace -f -qq -o /dev/null -P "$TEST_DIR/$1.part" \
		-e "inject=pwrite64:delay_enter=$2s:when=1" "$sealblk" export image.seal "$1" >said 2>&1 &
	tracer=$!
	own_pid "$tracer"
	wait_for 10 test -e "$1.part" || fail "it does not begin"
	exporter=$(pgrep -P "$tracer")
	own_pid "$exporter"
	sleep 0.5
}

# end_export: it has ended; its exit status: $status.
end_export() {
	status=0
	wait "$tracer" || status=$?
	disown_pid "$tracer"
	disown_pid "$exporter"
	cat said
}
