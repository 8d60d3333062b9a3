#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What grows with the number of exports, connections and sectors (docs/scale.md), and
# that it stays within bounds: many exports in one daemon, many connections to it,
# disks that read one base at once, a disk of 64 TiB. SEALBLK_LONG=1 takes a thousand
# of each.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need python3
exports=200 connections=300 disks=100 base_mib=8 scattered=2000
[[ ${SEALBLK_LONG:-} ]] && exports=1000 connections=1024 base_mib=200 scattered=20000 full=full
# Of docs/scale.md, with two workers.
export_kib_max=256 idle_kib_max=16 arena_kib=$((64 << 10)) block_kib_max=24 open_kib_max=$((64 << 10))
# A sanitizer's allocator takes several times as much; what is checked besides is the same.
grep -q -e -fsanitize "$BUILD_DIR/flags" && export_kib_max=4096 idle_kib_max=256 block_kib_max=96 \
	arena_kib=$((256 << 10)) open_kib_max=$((512 << 10))

memory=$(mktemp -d /dev/shm/sb.XXXXXX 2>/dev/null || true)
remove_memory() {
	local status=$?
	set +e
	rm -rf "$memory"
	return "$status"
}
trap 'remove_memory; cleanup' EXIT
cd "$TEST_DIR"
socket=$TEST_DIR/s
key=$TEST_DIR/key
make_key "$key"
figures=
start_s=180 # each image is synced when it is opened, on a disk that others may use
one_ms=0 many_ms=0 open_ms=0 recovery_ms=0 idle_kib=0 busy_kib=0

# A limit that cannot be raised is not what is tested here.
files=$((5 * exports + connections + 300)) hard=$(ulimit -Hn)
[[ $hard == unlimited ]] || ((hard >= files)) || skip "needs $files open files (ulimit -Hn is $hard)"

scale() {
	"$python" "$SRC_DIR/tests/tools/scale.py" "$@"
}

rss_kib() {
	awk '/^VmRSS/ { print $2 }' "/proc/$daemon_pid/status"
}

cpu_ticks() {
	awk '{ print $14 + $15 }' "/proc/$daemon_pid/stat"
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# start_timed VARIABLE ARGUMENT...: starts the daemon, and sets VARIABLE to how many ms it took.
start_timed() {
	local name=$1 began
	shift
	began=$(now_ms)
	start_daemon --key-file "$key" --socket "$socket" "$@"
	printf -v "$name" %d "$(($(now_ms) - began))"
}

serve_folder() {
	echo "{\"directory\": \"$TEST_DIR/$1\"}" >policy.json
	start_timed "$2" --policy policy.json --workers "${3:-2}"
}

# ---- exports ----------------------------------------------------------------------------
mkdir one many
for ((i = 1; i <= exports; i++)); do
	"$sealblk" create --size 1G --key-file "$key" "many/$i.seal" >>create.log
done
mv many/1.seal one/
serve_folder one one_ms
one_kib=$(rss_kib)
stop_daemon
mv one/1.seal many/
serve_folder many many_ms
all_kib=$(rss_kib)
export_kib=$(((all_kib - one_kib) / (exports - 1)))
((export_kib <= export_kib_max)) || fail "an export takes $export_kib KiB"
before=$(cpu_ticks)
sleep 2
idle_ticks=$(($(cpu_ticks) - before))
# Of two seconds, in hundredths: a fifth of a core would be 40.
((idle_ticks <= 40)) || fail "$exports idle exports took $idle_ticks of 200 ticks"
scale exports "$socket" "$exports"
# Its dirty file is small as long as little is written.
runtime=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) && runtime=/run/sealblk
uuid=$("$sealblk" info many/1.seal | awk '$1 == "uuid" { print $2 }')
dirty_kib=$(($(stat -c %b "$runtime/$uuid".*.dirty) / 2))
((dirty_kib <= 64)) || fail "a dirty file takes $dirty_kib KiB"
figures+="$exports exports: $export_kib KiB and $(((many_ms - one_ms) / (exports - 1))) ms each"
figures+=", $dirty_kib KiB of tmpfs, $idle_ticks of 200 ticks idle"
echo '- exports'

# ---- connections ------------------------------------------------------------------------
# With one worker, so that the last of 1024 takes its last place.
stop_daemon
serve_folder many many_ms 1
crowd=$(scale crowd "$socket" "$daemon_pid" "$connections" ${full+"$full"})
echo "$crowd"
eval "$crowd"
((idle_kib <= connections * idle_kib_max)) || fail "idle connections take $idle_kib KiB"
# The payloads of all are in the worker's buffers, whatever they ask for.
((busy_kib <= connections * 2 * idle_kib_max + arena_kib + 8192)) || fail "busy ones take $busy_kib KiB"
if [[ ${full:-} ]]; then
	refused=$(grep -c 'a connection was refused: there are 1024 already' "$daemon_log")
	((refused >= 1 && refused <= 10)) || fail "$refused lines about refused connections"
else
	! grep -E 'refused|closed' "$daemon_log" || fail "somebody was turned away"
fi
stop_daemon
rm -r many one
figures+="; $connections connections: $((idle_kib * 1024 / connections)) bytes each idle"
figures+=", $((busy_kib >> 10)) MiB all at once"
echo '- connections'

# ---- one base ---------------------------------------------------------------------------
# Large enough that its digest is of samples: else each image would hash all of it.
make_random base.raw $((base_mib << 20))
base_sum=$(sha256sum <base.raw | cut -d ' ' -f 1)
truncate -s 300M base.raw
sync base.raw
mkdir many
for ((i = 1; i <= disks; i++)); do
	"$sealblk" create --base base.raw --key-file "$key" "many/$i.seal" >>create.log
done
serve_folder many many_ms
drop='import os, sys; f = os.open(sys.argv[1], os.O_RDONLY); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)'
"$python" -c "$drop" base.raw
cold=0
command -v fincore >/dev/null && (($(fincore -nb -o RES base.raw) == 0)) && cold=1
# The daemon is undumpable: its counters are root's to read.
read_bytes() {
	awk '/^read_bytes/ { print $2 }' "/proc/$daemon_pid/io" 2>/dev/null || echo 0
}
before=$(read_bytes)
storm=$(scale storm "$socket" "$disks" "$base_mib")
read_mib=$((($(read_bytes) - before) >> 20))
expect_equal "sum=$base_sum" "$storm" "what the disks have read"
if ((cold && EUID == 0)); then
	((read_mib >= base_mib * 9 / 10 && read_mib <= base_mib * 3 / 2 + 1)) ||
		fail "$disks disks have read $read_mib MiB of a base of $base_mib MiB from storage"
	figures+="; $disks disks read a base of $base_mib MiB at once: $read_mib MiB from storage"
else
	echo "(the base is in memory, or its reads are not ours to count)"
fi
stop_daemon
rm -r many base.raw
echo '- one base'

# ---- 64 TiB -----------------------------------------------------------------------------
[[ $memory ]] && cd "$memory"
if ! "$sealblk" create --size 64T --key-file "$key" big.seal 2>refused; then
	cat refused
	grep -q 'largest file' refused || fail "cannot create a disk of 64 TiB"
	echo "figures: $figures; files of 64 TiB do not fit here"
	exit 0
fi
start_timed open_ms --export big=big.seal --workers 2
before=$(rss_kib)
((before <= open_kib_max)) || fail "64 TiB take $before KiB when they are opened"
scale scatter "$socket" big "$scattered" 0
written_kib=$((($(rss_kib) - before) / scattered))
((written_kib <= block_kib_max + (54 << 10) / scattered)) || fail "a written map block takes $written_kib KiB"
kill_daemon
start_timed recovery_ms --export big=big.seal --workers 2
grep -q 'was not closed; recovered' "$daemon_log" || fail "nothing was recovered"
scale verify "$socket" big "$scattered" 0
began=$(now_ms)
info=$("$sealblk" info big.seal)
info_ms=$(($(now_ms) - began))
grep -q "sealed *$((scattered * 8)) " <<<"$info" || fail "info counts otherwise: $info"
began=$(now_ms)
extents=$("$sealblk" map big.seal | wc -l)
map_ms=$(($(now_ms) - began))
((extents >= 2 * scattered)) || fail "map shows $extents extents"
stop_daemon
began=$(now_ms)
expect_exit 0 "$sealblk" check --key-file "$key" big.seal
check_ms=$(($(now_ms) - began))
figures+="; 64 TiB, $scattered map blocks: open $open_ms ms with $((before >> 10)) MiB"
figures+=", $written_kib KiB a block, recovery $recovery_ms ms, info $info_ms ms, map $map_ms ms"
figures+=", check $check_ms ms, $(du -m big.seal | cut -f 1) MiB of file"
echo '- 64 TiB'
echo "figures: $figures"
