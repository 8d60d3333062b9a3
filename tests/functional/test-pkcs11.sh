#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Keys from a PKCS#11 token (SoftHSM), for both programs: a secret key that nobody can
# read out of the token opens images, another program makes the same of it, and there
# is one clear line for each way in which it can go wrong.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq softhsm2-util pkcs11-tool
module=
for folder in /usr/lib/x86_64-linux-gnu/softhsm /usr/lib/softhsm; do
	[[ ! -e $folder/libsofthsm2.so ]] || module=$folder/libsofthsm2.so
done
[[ $module ]] || skip "needs SoftHSM's module"
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
bad_token=$BUILD_DIR/tests/bad_token.so

mkdir tokens
cat >softhsm2.conf <<-END
	directories.tokendir = $TEST_DIR/tokens
	objectstore.backend = file
	log.level = ERROR
END
export SOFTHSM2_CONF=$TEST_DIR/softhsm2.conf
make_token() {
	softhsm2-util --init-token --free --label "$1" --so-pin 87654321 --pin secret-pin >/dev/null
}
# token TOKEN ARGUMENT...: pkcs11-tool, logged in.
token() {
	pkcs11-tool --module "$module" --token-label "$1" --login --pin secret-pin "${@:2}" \
		>token.log 2>&1 || { cat token.log; fail "pkcs11-tool: ${*:2}"; }
}
make_token sealblk
make_token other
token sealblk --keygen --key-type GENERIC:32 --label kek --id 01 --sensitive
grep -q 'never extractable' token.log || fail "the key could be read out of the token"
token sealblk --keygen --key-type GENERIC:64 --label second --id 02 --sensitive
token sealblk --keygen --key-type GENERIC:16 --label short --id 03 --sensitive
token sealblk --keygen --key-type AES:32 --label cipher --id 04 --sensitive
token sealblk --keygen --key-type GENERIC:32 --label twin --id 05 --sensitive
token sealblk --keygen --key-type GENERIC:32 --label twin --id 06 --sensitive
token other --keygen --key-type GENERIC:32 --label kek --id 01 --sensitive
echo secret-pin >pin
echo wrong-pin >wrong-pin
: >empty

# uri ATTRIBUTES [PIN-FILE]
uri() {
	echo "pkcs11:$1?module-path=$module&pin-source=file:$TEST_DIR/${2:-pin}"
}
kek=$(uri 'token=sealblk;object=kek')
second=$(uri 'token=sealblk;object=second')

# refuse PATTERN COMMAND...: exit 1, one line.
refuse() {
	local pattern=$1
	shift
	expect_exit 1 "$@"
	expect_output "$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
}

# ---- hangs: begun now, looked at in the end, since the deadline is 30 s -----------
"$sealblk" create --size 4M --pkcs11 "$kek" image.seal
cp --sparse=always image.seal hanging.seal
mkdir run2
begin=$SECONDS
BAD_TOKEN=hang XDG_RUNTIME_DIR=$TEST_DIR/run2 "$sealblkd" --socket "$TEST_DIR/s2" \
	--pkcs11 "pkcs11:object=kek?module-path=$bad_token" hanging.seal >hang.log 2>&1 &
hang=$!
own_pid $hang

# ---- made, served, changed --------------------------------------------------------
expect_exit 0 "$sealblk" check --pkcs11 "$kek" image.seal
start_daemon --socket "$socket" --pkcs11 "$kek" image.seal
nbd_io "$socket" 'write -P 5 0 64k' flush 'read -P 5 0 64k'
read -ra helpers <<<"$(cat /proc/"$daemon_pid"/task/*/children)"
if ((EUID == 0)); then
	for pid in "$daemon_pid" "${helpers[@]}"; do
		grep -q softhsm "/proc/$pid/maps" && fail "the module is in process $pid"
	done
fi
expect_exit 0 "$sealblk" key add --pkcs11 "$kek" --new-pkcs11 "$second" image.seal
stop_daemon
start_daemon --socket "$socket" --pkcs11 "$second" image.seal
nbd_io "$socket" 'read -P 5 0 64k'
stop_daemon
make_key file
expect_exit 0 "$sealblk" key rotate --pkcs11 "$kek" --new-key-file file image.seal
expect_exit 4 "$sealblk" check --pkcs11 "$kek" image.seal
expect_exit 0 "$sealblk" key rotate --key-file file --new-pkcs11 "$kek" image.seal
expect_exit 4 "$sealblk" check --key-file file image.seal

# By its id; by the modules that are configured for all programs, if SoftHSM is.
expect_exit 0 "$sealblk" check --pkcs11 "$(uri 'token=sealblk;id=%01')" image.seal
if [[ -e /usr/share/p11-kit/modules/softhsm2.module ]]; then
	configured="pkcs11:token=sealblk;object=kek?pin-source=file://$TEST_DIR/pin"
	expect_exit 0 "$sealblk" check --pkcs11 "$configured" image.seal
fi

# Another image, the same key of the token: another secret. One daemon serves both.
expect_exit 0 "$sealblk" create --size 4M --pkcs11 "$kek" another.seal
start_daemon --socket "$socket" --pkcs11 "$kek" image.seal --export another=another.seal
stop_daemon
secret_of() {
	printf 'sealblk-pkcs11-1 image=%s' "$("$sealblk" info --json "$1" | jq -r .uuid)" >message
	token sealblk --sign --mechanism SHA256-HMAC --id 01 --input-file message --output-file "$2"
}
secret_of image.seal secret
secret_of another.seal another-secret
expect_equal 32 "$(stat -c %s secret)" "bytes of the secret"
expect_exit 0 "$sealblk" check --key-file secret image.seal
expect_exit 0 "$sealblk" check --key-file another-secret another.seal
expect_exit 4 "$sealblk" check --key-file secret another.seal
echo '- made, served, changed'

# ---- goes wrong -------------------------------------------------------------------
before=$(digest image.seal)
for program in "$sealblk check" "$sealblkd --socket $socket"; do
	read -ra words <<<"$program"
	# try PATTERN URI
	try() {
		refuse "PKCS#11 pkcs11:.*: $1" timeout 20 "${words[@]}" --pkcs11 "$2" image.seal
	}
	try 'the token says that the PIN in .*/wrong-pin is wrong$' \
		"$(uri 'token=sealblk;object=kek' wrong-pin)"
	try 'PIN file .*/none: cannot be read: No such file' "$(uri 'token=sealblk;object=kek' none)"
	try 'PIN file .*/empty: its first line has' "$(uri 'token=sealblk;object=kek' empty)"
	try 'the token wants a PIN: put it into a file' \
		"pkcs11:token=sealblk;object=kek?module-path=$module"
	try 'no such token is there$' "$(uri 'token=nobody;object=kek')"
	try '2 tokens match: name one' "$(uri 'object=kek')"
	try 'the token has no such secret key$' "$(uri 'token=sealblk;object=nothing')"
	try 'more than one key of the token matches' "$(uri 'token=sealblk;object=twin')"
	try 'the token.s key has 16 bytes: 32 at least are wanted$' "$(uri 'token=sealblk;object=short')"
	try 'the token makes no HMAC-SHA-256 with this key: ' "$(uri 'token=sealblk;object=cipher')"
	try 'module /nonexistent.so: cannot be loaded: .*' 'pkcs11:object=kek?module-path=/nonexistent.so'
	try 'module /etc/passwd: cannot be loaded: .*' 'pkcs11:object=kek?module-path=/etc/passwd'
	BAD_TOKEN=crash try 'was ended by signal 11' "pkcs11:object=kek?module-path=$bad_token"
	BAD_TOKEN=print try '.*module .*bad_token.so: cannot be loaded' \
		"pkcs11:object=kek?module-path=$bad_token"
	# The same label, of another token.
	expect_exit 4 "${words[@]}" --pkcs11 "$(uri 'token=other;object=kek')" image.seal

	# A PIN must not be on a command line; where it is, it is not passed on.
	expect_exit 2 "${words[@]}" --pkcs11 "pkcs11:object=kek?pin-value=secret-pin" image.seal
	expect_output 'URI: holds a PIN, and a command line is for all to see'
	grep -q secret-pin output && fail "the PIN is printed"
	expect_exit 2 "${words[@]}" --pkcs11 'kek' image.seal
	expect_output 'is not a PKCS#11 URI'
	expect_exit 2 "${words[@]}" --pkcs11 '' image.seal
	expect_output 'names nothing'
done
[[ ! -e $socket ]] || fail "a socket was left"
refuse 'the token has no such secret key$' \
	"$sealblk" create --size 4M --pkcs11 "$(uri 'token=sealblk;object=nothing')" never.seal
refuse 'the token has no such secret key$' \
	"$sealblk" key rotate --pkcs11 "$kek" --new-pkcs11 "$(uri 'token=sealblk;object=no')" image.seal
[[ ! -e never.seal ]] || fail "an image was made"
expect_equal "$before" "$(digest image.seal)" "digest of the image"
echo '- goes wrong'

# ---- what hung ------------------------------------------------------------------------
status=0
wait "$hang" || status=$?
disown_pid "$hang"
cat hang.log
expect_equal 1 "$status" "exit of what waits for a module that hangs"
((SECONDS - begin >= 29)) || fail "the deadline came after $((SECONDS - begin)) s"
grep -q 'has given no key within 30 s, and was ended$' hang.log || fail "not said: a deadline"
