#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# TLS: what tls.py demands; nbdcopy, nbdinfo and qemu-img (GnuTLS) by certificate and
# by pre-shared key; what is refused at the start.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need openssl nbdcopy nbdinfo qemu-img cmp
cd "$TEST_DIR"

# ---- certificates ----

make_ca() { # NAME
	mkdir "$1.d"
	echo unique_subject = no >"$1.d/index.attr"
	: >"$1.d/index"
	cat >"$1.cnf" <<-CONFIG
		[ca]
		default_ca = this
		[this]
		dir = $1.d
		database = $1.d/index
		new_certs_dir = $1.d
		rand_serial = yes
		default_md = sha256
		default_crl_days = 30
		policy = any
		copy_extensions = copy
		[any]
		commonName = supplied
		[req]
		distinguished_name = names
		[names]
	CONFIG
	openssl req -x509 -config "$1.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$1-key.pem" -out "$1-cert.pem" -subj "/CN=$1" -days 30 \
		-addext basicConstraints=critical,CA:TRUE \
		-addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
}

sign() { # NAME CA COMMON_NAME EXTENSION [openssl ca OPTION...]
	local name=$1 ca=$2

	openssl req -config "$ca.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$name-key.pem" -out "$name.csr" -subj "/CN=$3" -addext "$4" 2>/dev/null
	openssl ca -batch -notext -config "$ca.cnf" -keyfile "$ca-key.pem" -cert "$ca-cert.pem" \
		-in "$name.csr" -out "$name-cert.pem" "${@:5}" 2>ca.log || {
		cat ca.log
		fail "openssl ca $name"
	}
}

for_clients=extendedKeyUsage=clientAuth
make_ca ca
make_ca ca2
sign server ca localhost subjectAltName=DNS:localhost,IP:127.0.0.1 -days 30
sign renewed ca localhost subjectAltName=DNS:localhost,IP:127.0.0.1 -days 30
sign client ca vm7 $for_clients -days 30
sign dns ca anyone subjectAltName=DNS:vm8.example -days 30
sign stranger ca vm9 $for_clients -days 30
sign revoked ca vm7 $for_clients -days 30
sign expired ca vm7 $for_clients -startdate 20200101000000Z -enddate 20200201000000Z
sign other ca2 vm7 $for_clients -days 30
openssl ca -config ca.cnf -keyfile ca-key.pem -cert ca-cert.pem -revoke revoked-cert.pem 2>/dev/null
openssl ca -config ca.cnf -keyfile ca-key.pem -cert ca-cert.pem -gencrl -out crl1.pem 2>/dev/null
openssl ca -config ca.cnf -keyfile ca-key.pem -cert ca-cert.pem -revoke dns-cert.pem 2>/dev/null
openssl ca -config ca.cnf -keyfile ca-key.pem -cert ca-cert.pem -gencrl -out crl2.pem 2>/dev/null
cp crl1.pem crl.pem
cp server-cert.pem first-cert.pem
cp server-key.pem first-key.pem
printf 'alice:%s\nbob:%s\n' "$(openssl rand -hex 32)" "$(openssl rand -hex 16)" >keys.psk
printf 'alice:%s\n' "$(openssl rand -hex 32)" >wrong.psk

# As GnuTLS clients want them.
for client in client other; do
	mkdir "$client.d"
	cp ca-cert.pem "$client.d/ca-cert.pem"
	cp "$client-cert.pem" "$client.d/client-cert.pem"
	cp "$client-key.pem" "$client.d/client-key.pem"
done
mkdir mistrust.d psk.d
cp client.d/client-*.pem mistrust.d
cp ca2-cert.pem mistrust.d/ca-cert.pem
cp keys.psk psk.d/keys.psk

# ---- what is refused at the start ----

make_key key
"$sealblk" create --size 128M --key-file key image.seal
port=$(free_port)
tls=(--tls-certificate server-cert.pem --tls-key server-key.pem)

refuse() { # EXIT PATTERN OPTION...
	expect_exit "$1" "$sealblkd" --socket "$TEST_DIR/s" --key-file key image.seal "${@:3}"
	expect_output "^sealblkd: error: .*$2"
}

refuse 2 'want each other' --tls-certificate server-cert.pem
refuse 2 '--tls-client-ca wants --tls-certificate' --tls-client-ca ca-cert.pem
refuse 2 '--tls-allow wants --tls-client-ca' "${tls[@]}" --tls-allow vm7
refuse 2 '--tls-client-crl wants --tls-client-ca' "${tls[@]}" --tls-client-crl crl.pem
refuse 1 'certificate missing.pem: cannot be read: No such file' \
	--tls-certificate missing.pem --tls-key server-key.pem
refuse 1 'certificate server-key.pem: cannot be used: it holds none in PEM' \
	--tls-certificate server-key.pem --tls-key server-key.pem
refuse 1 'private key client-key.pem: cannot be used: it is not that of the certificate' \
	--tls-certificate server-cert.pem --tls-key client-key.pem
openssl ec -in server-key.pem -aes256 -passout pass:secret -out locked-key.pem 2>/dev/null
for key in server-cert.pem locked-key.pem; do
	refuse 1 "private key $key: cannot be used: it holds none in PEM, or one with a passphrase" \
		--tls-certificate server-cert.pem --tls-key "$key"
done
refuse 1 'private key /dev/null: cannot be read: it is no file' \
	--tls-certificate server-cert.pem --tls-key /dev/null
refuse 1 'client CA keys.psk: cannot be used: it holds no certificate' "${tls[@]}" --tls-client-ca keys.psk
refuse 1 'revocation list ca-cert.pem: cannot be used: it holds no revocation list' \
	"${tls[@]}" --tls-client-ca ca-cert.pem --tls-client-crl ca-cert.pem
refuse 1 'pre-shared keys missing.psk: cannot be read: No such file' --tls-psk missing.psk
printf '# none\n' >bad.psk
refuse 1 'pre-shared keys bad.psk: line 1 is not IDENTITY:HEX' --tls-psk bad.psk
printf 'a:00112233445566778899aabbccddeeff\nb:0011\n' >bad.psk
refuse 1 'pre-shared keys bad.psk: line 2 has a key that is not 16 to 64 bytes' --tls-psk bad.psk
: >empty.psk
refuse 1 'pre-shared keys empty.psk: there is none in it' --tls-psk empty.psk
refuse 2 'wants --tls-certificate or --tls-psk; --insecure-tcp' --listen ":$port"

start_daemon --listen "0.0.0.0:$port" --insecure-tcp --key-file key image.seal
nbdinfo "nbd://localhost:$port/" >/dev/null
stop_daemon

# ---- served ----

start_daemon --verbose --socket "$TEST_DIR/s" --listen ":$port" "${tls[@]}" \
	--tls-client-ca ca-cert.pem --tls-client-crl crl.pem --tls-allow vm7 \
	--tls-allow vm8.example --tls-psk keys.psk --key-file key image.seal
"$python" "$SRC_DIR/tests/interop/tls.py" "$TEST_DIR/s" "127.0.0.1:$port" "$TEST_DIR" "$daemon_pid"
expect_equal 4 "$(grep -c '^sealblkd: TLS: its files have been read again' "$daemon_log")" "reloads"
expect_equal 1 "$(grep -c '^sealblkd: error: private key server-key.pem: cannot be used: it is not that of the certificate; TLS goes on' "$daemon_log")" "reloads that failed"

by_certificate() { # FOLDER
	echo "nbds://localhost:$port/?tls-certificates=$TEST_DIR/$1.d"
}

by_psk() { # IDENTITY FILE
	echo "nbds://$1@localhost:$port/?tls-psk-file=$TEST_DIR/$2"
}

# What ordinary clients seldom do.
deed() { # CIPHER DEED
	"$BUILD_DIR/tests/tls_client" 127.0.0.1 "$port" keys.psk "$1" "$2"
}

for cipher in TLS_AES_128_GCM_SHA256 TLS_CHACHA20_POLY1305_SHA256 TLSv1.2; do
	expect_equal 'same, then closed' "$(deed $cipher late)" "$cipher"
	expect_equal 'alert 20' "$(deed $cipher noise)" "$cipher"
done
expect_equal same "$(deed TLS_AES_128_GCM_SHA256 update)" "new keys of the client"
expect_equal same "$(deed TLS_AES_128_GCM_SHA256 demand)" "new keys of both"

# Ordinary ones.
head -c 128M /dev/urandom >data
nbdcopy --flush data "$(by_certificate client)"
nbdcopy "$(by_psk alice keys.psk)" back
cmp data back
nbdcopy "$(by_psk bob keys.psk)" - | cmp data
nbdcopy --flush data "nbds+unix://alice@/?socket=$TEST_DIR/s&tls-psk-file=$TEST_DIR/keys.psk"
qemu-img compare --object "tls-creds-x509,id=t,dir=$TEST_DIR/client.d,endpoint=client" \
	--image-opts driver=raw,file.driver=file,file.filename=data \
	"driver=nbd,host=localhost,port=$port,tls-creds=t"
qemu-img compare --object "tls-creds-psk,id=t,dir=$TEST_DIR/psk.d,username=alice,endpoint=client" \
	--image-opts driver=raw,file.driver=file,file.filename=data \
	"driver=nbd,host=localhost,port=$port,tls-creds=t,tls-hostname=localhost"

# TLS 1.2, by GnuTLS, too.
printf '[overrides]\ndisabled-version = TLS1.3\n' >tls12.conf
GNUTLS_SYSTEM_PRIORITY_FILE=tls12.conf nbdcopy "$(by_psk alice keys.psk)" - | cmp data
GNUTLS_SYSTEM_PRIORITY_FILE=tls12.conf nbdcopy "$(by_certificate client)" - | cmp data

for uri in "$(by_certificate other)" "$(by_certificate mistrust)" "$(by_psk alice wrong.psk)" \
	"$(by_psk carol keys.psk)"; do
	nbdinfo "$uri" >refused.log 2>&1 && fail "$uri was let in"
done
for why in 'peer did not return a certificate' 'verify failed: certificate has expired'; do
	grep -q "closed: TLS: .*$why" "$daemon_log" || fail "the log does not say: $why"
done
grep -Eq 'TLSv1\.2, DHE-PSK-.*, client alice$' "$daemon_log" || fail 'alice had no TLS 1.2'
grep -Eq 'TLSv1\.3, .*, client alice$' "$daemon_log" || fail 'the log does not name alice'
grep -Eq 'TLSv1\.3, .*, client /CN=vm7$' "$daemon_log" || fail 'the log does not name vm7'
grep -q "$(sed -n 's/^alice://p' keys.psk)" "$daemon_log" && fail 'a key is in the log'
stop_daemon

# ---- pre-shared keys alone ----

start_daemon --listen "127.0.0.1:$port" --tls-psk keys.psk --key-file key image.seal
nbdcopy "$(by_psk bob keys.psk)" - | cmp data
nbdinfo "$(by_certificate client)" >/dev/null 2>&1 && fail 'a certificate was asked for'
nbdinfo "$(by_psk carol keys.psk)" >/dev/null 2>&1 && fail 'carol was let in'
printf 'carol:%s\n' "$(openssl rand -hex 32)" >>keys.psk
kill -HUP "$daemon_pid"
is_served() {
	nbdinfo "$(by_psk "$1" keys.psk)" >/dev/null 2>&1
}
wait_for 10 is_served carol || fail 'carol is not let in after SIGHUP'
is_served alice || fail 'alice is not let in after SIGHUP'
stop_daemon
