#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-ktls.sh: prints "WHERE.DEED.CIPHER=what came of it".
set -e
: "${mebibytes:?}"

cd /tmp
ip link set lo up
export XDG_RUNTIME_DIR=/run
port=10809
uri="nbds://alice@127.0.0.1:$port/?tls-psk-file=/job/keys.psk"
/programs/sealblk create --size "${mebibytes}M" --key-file /job/key image.seal
head -c $((mebibytes * 1048576)) /dev/urandom >data

# counter NAME: of the kernel's TLS; 0 without it.
counter() {
	awk -v name="$1" '$1 == name { n = $2 } END { print n + 0 }' /proc/net/tls_stat 2>/dev/null ||
		echo 0
}

# start [OPTION...]
start() {
	/programs/sealblkd "$@" --verbose --listen "127.0.0.1:$port" --tls-psk /job/keys.psk \
		--tls-certificate /job/server-cert.pem --tls-key /job/server-key.pem \
		--key-file /job/key image.seal >log 2>&1 &
	pid=$!
	for _ in $(seq 100); do
		grep -q '^sealblkd: ready' log && return
		sleep 0.1
	done
	cat log
	return 1
}

stop() {
	kill "$pid"
	wait "$pid" || echo "the daemon ended with $?"
	grep -E 'encrypted by|closed: |error' log
}

# ticks: of the daemon's processor time, in 1/100 s.
ticks() {
	awk '{ print $14 + $15 }' "/proc/$pid/stat"
}

# copy WHERE
copy() {
	/programs/nbdcopy --flush data "$uri" || return
	begin=$(ticks)
	/programs/nbdcopy "$uri" back || return
	cmp data back && echo "$1.nbdcopy=yes"
	echo "$1.ticks=$(($(ticks) - begin))"
}

# deed WHERE CIPHER DEED
deed() {
	echo "$1.$3.$2=$(/programs/tls_client 127.0.0.1 $port /job/keys.psk "$2" "$3")"
}

rmmod tls
start
copy openssl
deed openssl TLS_AES_128_GCM_SHA256 transfer
stop

insmod /modules/tls.ko
start
copy kernel
for cipher in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256 TLSv1.2 \
	short; do
	before=$(counter TlsTxSw)
	deed kernel $cipher transfer
	echo "kernel.sockets.$cipher=$(($(counter TlsTxSw) - before))"
done
for deed in update demand late noise; do
	deed kernel TLS_AES_128_GCM_SHA256 $deed
done
stop

start --io-engine libaio
for deed in transfer late; do
	deed libaio TLS_AES_128_GCM_SHA256 $deed
done
stop
echo "kernel.left=$(counter TlsCurrTxSw)"
echo "kernel.received=$(counter TlsRxSw)"
