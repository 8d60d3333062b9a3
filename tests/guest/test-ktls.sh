#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The kernel's TLS, which is a module in Debian: a guest has the daemon and its clients
# over TCP, first without the module, then with it. The kernel's own counters say who
# encrypted.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need nbdcopy openssl qemu-system-x86_64
cd "$TEST_DIR"
make_key key
printf 'alice:%s\n' "$(openssl rand -hex 32)" >keys.psk
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server-key.pem \
	-out server-cert.pem -subj /CN=localhost -days 30 2>/dev/null
guest_programs=("$sealblk" "$sealblkd" "$BUILD_DIR/tests/tls_client" nbdcopy)
guest_files=(key keys.psk server-cert.pem server-key.pem)
run_job job-ktls.sh 120 "mebibytes=16" -m 768 -smp 2

got() {
	job_value "$guest_log" "$1"
}

aes128=TLS_AES_128_GCM_SHA256
for where in openssl kernel; do
	expect_equal yes "$(got $where.nbdcopy)" "nbdcopy, sent by $where"
done
expect_equal same "$(got openssl.transfer.$aes128)" "without the module"
for cipher in $aes128 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
	expect_equal same "$(got "kernel.transfer.$cipher")" "$cipher"
	expect_equal 1 "$(got "kernel.sockets.$cipher")" "sockets that the kernel sent for, $cipher"
done
for other in TLSv1.2 short; do
	expect_equal same "$(got kernel.transfer.$other)" "$other"
	expect_equal 0 "$(got kernel.sockets.$other)" "sockets that the kernel sent for, $other"
done

expect_equal same "$(got kernel.update.$aes128)" "after the client has changed its keys"
expect_equal closed "$(got kernel.demand.$aes128)" "after it has demanded that ours change"
expect_equal 1 "$(grep -c 'the client wants new keys' "$guest_log")" "log lines of that"
expect_equal same "$(got libaio.transfer.$aes128)" "with libaio"
for engine in kernel libaio; do
	expect_equal 'same, then closed' "$(got $engine.late.$aes128)" "to a client that reads late"
done
expect_equal 'alert 20' "$(got kernel.noise.$aes128)" "after a record that was forged"

expect_equal 0 "$(got kernel.left)" "sockets that the kernel still has keys of"
expect_equal 0 "$(got kernel.received)" "sockets that it decrypts for"
echo "figures: 16 MiB read: $(got openssl.ticks)0 ms of processor time by OpenSSL, $(got kernel.ticks)0 ms by the kernel (emulated)"
