#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Real engine, real files: what the daemon has the kernel do is recorded (--trace)
# while clients change the disk; from that the image files are built that power
# cuts could have left, and each is opened and held against what the clients were
# told. The daemon is killed in between, and the trace of its successor follows.
#
# The same with daemons that break one rule each: there violations must be found.
# SEED=N repeats the requests and the choice of states; timing is the machine's.
# MUTANTS="NAME..." takes others of tests/sim/mutants.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

load=$BUILD_DIR/tests/trace-load
replay=$BUILD_DIR/tests/trace-replay
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
cd "$TEST_DIR"
socket=$TEST_DIR/s

# Requests of each session, and image files to build for each image.
ops=200 states=1500
[[ ${SEALBLK_LONG:-} ]] && ops=4000 states=20000
# Sanitizers make opening an image slow; it is the same code.
grep -q -e -fsanitize "$BUILD_DIR/flags" && ops=100 states=200

# States are built in memory where there is some.
scratch=$TEST_DIR/scratch.seal
if [[ -w /dev/shm ]]; then
	scratch=$(mktemp /dev/shm/sb.XXXXXX)
	trap 'status=$?; rm -f "$scratch"; (exit $status); cleanup' EXIT
fi

# Sectors under test: the first, at the end of the base (1 MiB), at the end of a map block
# (7936 sectors), and the last of the disk (9 MiB, three map blocks).
windows=(--window 0:512 --window 1792:512 --window 7680:512 --window 17920:512)
make_key key
make_random base.raw 1048576

# make_image NAME OPTION...: and a copy of it as it is before the first session.
make_image() {
	local name=$1
	shift
	"$sealblk" create --size 9M --key-file key "$@" "$name.seal"
	cp --sparse=always "$name.seal" "$name.before"
}

# session NAME N kill|stop: a daemon for image NAME, recorded and loaded, is ended so.
session() {
	local name=$1 n=$2 end=$3 kill=()
	start_daemon --socket "$socket" --key-file key --workers 2 --trace "$name.trace$n" "$name.seal"
	[[ $end == stop ]] || kill=(--kill "$daemon_pid")
	"$load" "${windows[@]}" --seed "$seed" --first $(((n - 1) * ops + 1)) --ops "$ops" \
		${kill+"${kill[@]}"} "$socket" "$name.log$n"
	if [[ $end == stop ]]; then
		stop_daemon
	else
		wait "$daemon_pid" 2>/dev/null || true
		disown_pid "$daemon_pid"
	fi
	cp --sparse=always "$name.seal" "$name.after$n"
}

# replay_image NAME OPTION... [--] TRACE LOG AFTER...
replay_image() {
	local name=$1
	shift
	"$replay" --image "$name.before" --key-file key --scratch "$scratch" --seed "$seed" \
		--keep "$name.failed" "$@"
}

# What the command that a violation names needs.
keep_evidence() {
	local to=$BUILD_DIR/tests/trace-failed
	rm -rf "$to"
	mkdir -p "$to"
	cp --sparse=always key base.raw ./*.before ./*.after? ./*.trace? ./*.log? ./*.failed check.out "$to" || true
	fail "a violation; what is needed to see it again is in $to: run the command there"
}

# ---- the daemon ----------------------------------------------------------------------
make_image sealed --base base.raw:raw
make_image plain --encryption off
for name in sealed plain; do
	session "$name" 1 kill
	grep -q 'every write is recorded in' "$daemon_log" || fail "--trace says nothing"
	session "$name" 2 stop
	base=()
	[[ $name == plain ]] || base=(--base base.raw)
	replay_image "$name" ${base+"${base[@]}"} --states "$states" --check "$sealblk" \
		"$name".trace1 "$name".log1 "$name".after1 "$name".trace2 "$name".log2 "$name".after2 \
		| tee "$name.figures" || keep_evidence
	built=$(sed -n 's/.* \([0-9]*\) states built, \1 opened, .*, 0 violations$/\1/p' "$name.figures")
	((built >= states / 2)) || fail "only $built states were built"
done

# ---- fio -----------------------------------------------------------------------------
# What it wrote when is in no log: every state must open, twice alike, and pass sealblk check.
if command -v fio >/dev/null; then
	make_image fio
	start_daemon --socket "$socket" --key-file key --workers 2 --trace fio.trace1 fio.seal
	fio --name=t --ioengine=nbd --uri="$(nbd_uri "$socket")" --rw=randwrite --bsrange=512-64k \
		--size=9M --number_ios="$ops" --iodepth=16 --fsync=16 --randseed="$seed" >fio.log \
		2>&1 || { cat fio.log; fail "fio cannot write"; }
	stop_daemon
	cp --sparse=always fio.seal fio.after1
	printf 'seed 0\nbegin 0\nwindows 0\nrequests 0\n' >fio.log1
	replay_image fio --states $((states / 3)) --check "$sealblk" --check-every 25 \
		fio.trace1 fio.log1 fio.after1 | tee fio.figures || keep_evidence
fi

# ---- a trace that lacks something ------------------------------------------------------
# All records together give what the daemon left; here somebody else has written as well.
cp --sparse=always plain.after2 plain.changed
flip_byte plain.changed $(((3 << 20) + 1000))
expect_exit 2 replay_image plain --only 0:0 plain.trace1 plain.log1 plain.after1 \
	plain.trace2 plain.log2 plain.changed
expect_output "session 2: byte $(((3 << 20) + 512)) of the image is not what was recorded"

# ---- daemons that break a rule ----------------------------------------------------------
# As the Makefile compiled everything else; the compiler's name comes first.
read -ra compile <"$BUILD_DIR/flags"
libs=$(<"$BUILD_DIR/libs")

# build_mutant NAME: from tests/sim/mutants; sets sealblkd.
build_mutant() {
	local patch=$SRC_DIR/tests/sim/mutants/$1.patch file changed=()
	rm -rf mutant
	mkdir mutant
	cp -r "$SRC_DIR/daemon" "$SRC_DIR/include" mutant
	patch -d mutant -p1 --silent --force --no-backup-if-mismatch <"$patch"
	while read -r file; do
		(cd mutant && "${compile[@]}" -Wno-error -c -o "${file//\//-}.o" "$file")
		changed+=("mutant/${file//\//-}.o")
	done < <(sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$patch")
	# shellcheck disable=SC2086
	"${compile[@]}" -o mutant/sealblkd "${changed[@]}" "$BUILD_DIR"/obj/daemon/*.o \
		"$BUILD_DIR/libsealblk.a" $libs
	sealblkd=$TEST_DIR/mutant/sealblkd
}

killed=0
mutants="2-no-data-sync 3-fua-data-only 4-punch-before-commit"
[[ ${SEALBLK_LONG:-} ]] && mutants+=" 2-bitmap-first 2-join-running-round 2-reply-before-map-sync \
	2-write-live-block 10-torn-superblocks 10-write-current-slot"
for mutant in ${MUTANTS:-$mutants}; do
	build_mutant "$mutant"
	make_image "$mutant" --base base.raw:raw
	session "$mutant" 1 stop
	expect_exit 1 replay_image "$mutant" --base base.raw --states "$states" \
		"$mutant".trace1 "$mutant".log1 "$mutant".after1
	expect_output '^trace: violation: a power cut before event'
	# The command that it names finds the same again.
	found=$(sed -n '1,3p' output)
	only=$(sed -n '$s/.* --only \([0-9:]*\)$/\1/p' output)
	rm "$mutant.failed"
	expect_exit 1 replay_image "$mutant" --base base.raw --only "$only" \
		"$mutant".trace1 "$mutant".log1 "$mutant".after1
	expect_equal "$found" "$(sed -n '1,3p' output)" "the violation, seen again"
	[[ -s $mutant.failed ]] || fail "the state was not kept"
	killed=$((killed + 1))
	rm -f "$mutant".*
done
# Of all images: "trace: N operations, N moments, N states built, N opened, N by sealblk check, ..."
cat ./*.figures | awk -v killed="$killed" '
	{ operations += $2; built += $6; opened += $9; checked += $11 }
	END {
		printf "figures: %d operations, %d states built, %d opened, %d by sealblk check, 0 violations; ",
			operations, built, opened, checked
		printf "%d broken daemons found out\n", killed
	}'
