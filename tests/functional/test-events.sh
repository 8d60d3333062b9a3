#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk events: what happens to an image, as it happens, for several followers
# at once; one that does not read loses events, is told how many, and is in
# nobody's way. That writing has failed, test-fsync-fails.sh looks for.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_key new
"$sealblk" create --size 16M --key-file key image.seal
"$sealblk" create --size 16M --key-file key other.seal

# follow FILE ARGUMENT...: `sealblk events` in the background, its exit status at the end of FILE.
follow() {
	local to=$1
	shift
	: >"$to"
	{
		local status=0
		"$sealblk" events "$@" >>"$to" 2>"$to.problem" || status=$?
		echo "exit $status" >>"$to"
	} &
	own_pid $!
	wait_for 5 grep -q state "$to" || wait_for 1 grep -q 'encryption is' "$to" ||
		fail "$to: the state did not come"
}

# ---- nobody serves it, or not as it should be asked --------------------------------
expect_exit 1 "$sealblk" events image.seal
expect_output '^sealblk: image image\.seal: is not being served: there are no events to follow$'
expect_exit 1 "$sealblk" events missing.seal
expect_exit 2 "$sealblk" events
expect_exit 2 "$sealblk" events --svg x image.seal

# ---- followed ----------------------------------------------------------------------
start_daemon --socket "$socket" --key-file key --export a=image.seal --export b=other.seal
follow text image.seal
follow json --json image.seal
follow others --json other.seal
"$sealblk" encryption off image.seal
"$sealblk" encryption off image.seal # is so already: no event
"$sealblk" encryption on image.seal
"$sealblk" key add --key-file key --new-key-file new image.seal
"$sealblk" key remove --slot 1 image.seal
"$sealblk" key remove --slot 1 image.seal # is empty already: no event
"$sealblk" key rotate --key-file key --new-key-file new image.seal
stop_daemon
for file in text json others; do
	wait_for 5 grep -qx 'exit 0' "$file" || fail "$file: did not end with exit 0"
	expect_equal '' "$(cat "$file.problem")" "$file: said on stderr"
done

cat >wanted <<'END'
encryption is on
encryption was switched off
encryption was switched on
a key was added in slot 1
the key in slot 1 was removed
a key was added in slot 1
the key in slot 0 was removed
the daemon stops
exit 0
END
sed -E 's/^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z  //; s/, last enabled 20.*//' text >found
expect_same wanted found
cat >wanted <<'END'
state true
encryption false
encryption true
key-added 1
key-removed 1
key-added 1
key-removed 0
end null
END
grep -v '^exit' json | jq -r '"\(.event) \(if has("slot") then .slot else .enabled end)"' >found
expect_same wanted found
expect_equal 8 "$(grep -v '^exit' json | jq -r .time | grep -Ec '^20.*Z$')" "events with a time"
expect_equal 'state end' "$(grep -v '^exit' others | jq -r .event | tr '\n' ' ' | sed 's/ $//')" \
	"events of the other image"

# ---- the daemon dies ------------------------------------------------------------------
start_daemon --socket "$socket" --key-file key --key-file new --export a=image.seal
follow text image.seal
kill_daemon
wait_for 5 grep -qx 'exit 1' text || fail "did not end with exit 1"
expect_equal 'sealblk: image image.seal: its daemon has not answered: it closed the connection' \
	"$(cat text.problem)"

# ---- one does not read --------------------------------------------------------------------
start_daemon --socket "$socket" --key-file key --key-file new --export a=image.seal
timeout 120 python3 - "$(control_socket image.seal)" <<'PY'
import json, socket, sys, time

def call(request):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(sys.argv[1])
    s.sendall(json.dumps(request).encode() + b"\n")
    return s

def ask(**request):
    return json.loads(call(request).makefile().read())

deaf = call({"verb": "events"})
lines = deaf.makefile()
assert json.loads(lines.readline())["event"] == "state"  # it follows from here on
gone = call({"verb": "events"})
reader = call({"verb": "events"}).makefile()
assert json.loads(reader.readline())["event"] == "state"
gone.close()
SWITCHES = 600
for i in range(SWITCHES):
    assert ask(verb="encryption", enabled=bool(i % 2))["enabled"] == bool(i % 2)
    event = json.loads(reader.readline())
    assert (event["event"], event["enabled"]) == ("encryption", bool(i % 2)), event
# Now it reads: what the socket holds, then how many were lost, then the newest.
seen = lost = 0
while seen + lost < SWITCHES:
    event = json.loads(lines.readline())
    if event["event"] == "lost":
        assert event["events"] > 0
        lost += event["events"]
    else:
        assert event["enabled"] == bool((seen + lost) % 2), (seen, lost)
        seen += 1
assert lost > 0 and seen >= 64, (seen, lost)
assert seen + lost == SWITCHES

# Too many follow (32, with the two above): the next one is told so, others are still
# answered. One after the other: each has a thread of its own, and they race.
crowd = []
for _ in range(30):
    crowd.append(call({"verb": "events"}))
    assert json.loads(crowd[-1].makefile().readline())["event"] == "state"
assert "follow events" in ask(verb="events")["error"]
assert ask(verb="encryption")["enabled"] is True
print("figures: %d events, %d lost by one that did not read" % (SWITCHES, lost))
PY
stop_daemon
