#!/usr/bin/env bash
# Runs pki.sh from end to end in a temporary directory: one line a check, exit code 1 if any failed.
#
# Needs what pki.sh needs, and python3, which computes order keys a second time with its own hmac.
# The network part stays on 127.0.0.1, on a port that the kernel chooses.
set -uo pipefail
export TZ=UTC LC_ALL=C
unset SEALFEED_PKI_DIR

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=$here/pki.sh
work=$(mktemp -d)
server_pid=''
cleanup() {
  [[ -z $server_pid ]] || kill "$server_pid" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1

passed=0 failed=0
P=$work/pki
pki() { "$script" --dir "$P" "$@"; }

# A check is a command that must succeed; `refuses CODE` one that must fail so, and say why.
check() { # NAME COMMAND...
  local name=$1
  shift
  if "$@" >"$work/out" 2>"$work/err"; then passed=$((passed + 1)); printf 'ok    %s\n' "$name"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s\n' "$name"
    head -n 5 "$work/err" "$work/out" | cut -c1-200
  fi
}

refuses() { # CODE COMMAND...
  local expected=$1 code=0 text
  shift
  text=$("$@" 2>&1 >/dev/null) || code=$?
  printf '%s\nexit code %s\n' "$text" "$code" >&2
  [[ $code == "$expected" && $text == *'pki: error: '* ]]
}

not() { ! "$@"; }
says() { local wanted=$1; shift; local text; text=$("$@" 2>&1); printf '%s\n' "$text"; [[ $text == *"$wanted"* ]]; }
same() { [[ $1 == "$2" ]] || { printf 'have %s\nwant %s\n' "$1" "$2" >&2; return 1; }; }
mode_is() { same "$(stat -c %a "$2")" "$1"; }
epoch() { date -u -d "${1#*=}" +%s; }
certificate() { openssl x509 -in "$1" -noout "${@:2}"; }
serial_of() { local text; text=$(certificate "$1" -serial); text=${text#*=}; printf '%s' "${text,,}"; }
crl_number() { local text; text=$(openssl crl -in "$1" -noout -crlnumber); text=${text#*=}; printf '%d' $((16#${text#0x})); }
tree_sum() { (cd "$1" && find . -type f ! -name .lock -exec sha256sum {} + | sort | sha256sum); }
key_fits() { same "$(certificate "$1" -pubkey)" "$(openssl pkey -in "$2" -pubout)"; }
text_of() { certificate "$1" -text; }

# All of client verification: chain, both CRLs, purpose; the intermediate comes from the client's file.
verifies() { # AUTHORITY PURPOSE CHAIN
  openssl verify -purpose "$2" -crl_check_all -CRLfile "$P/crl/$1.pem" -CAfile "$P/ca/root.pem" -untrusted "$3" "$3"
}

python_order_key() { # MASTER_FILE CERTIFICATE
  python3 - "$1" "$2" <<'PY'
import hashlib, hmac, ssl, sys
master = bytes.fromhex(open(sys.argv[1]).read().strip())
pem = open(sys.argv[2]).read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
der = ssl.PEM_cert_to_DER_cert(pem)
prk = hmac.new(b"", master, hashlib.sha256).digest()
info = b"sealfeed order key v1" + hashlib.sha256(der).digest()
print(hmac.new(prk, info + b"\x01", hashlib.sha256).hexdigest())
PY
}

# --- init --------------------------------------------------------------------------------------

check 'an unknown command is wrong usage' refuses 2 pki frobnicate
check 'a command without a PKI says how to make one' refuses 3 pki list
check 'init makes a PKI' pki init --demo
sum=$(tree_sum "$P")
check 'init again succeeds' pki init
check 'init again changed nothing' same "$(tree_sum "$P")" "$sum"
mkdir "$work/occupied" && : >"$work/occupied/file"
check 'init refuses a directory with other things in it' refuses 4 "$script" --dir "$work/occupied" init
mkdir "$work/empty"
check 'init accepts an empty directory' "$script" --dir "$work/empty" init --org 'Wrong Corp'
check 'init leaves no stage behind' same "$(find "$work" -name '.stage.*')" ''
check 'demo CAs carry the word DEMO' says DEMO certificate "$P/ca/root.pem" -subject
check 'other CAs do not' not says DEMO certificate "$work/empty/ca/root.pem" -subject
check 'root: path length 1' says 'CA:TRUE, pathlen:1' text_of "$P/ca/root.pem"
for name in servers clients; do
  check "$name CA: path length 0" says 'CA:TRUE, pathlen:0' text_of "$P/authority/$name/ca.pem"
  check "$name CA verifies under the root and its CRL" openssl verify -crl_check -CRLfile "$P/crl/root.pem" -CAfile "$P/ca/root.pem" "$P/authority/$name/ca.pem"
  check "crl/$name.pem holds two CRLs" same "$(grep -c 'BEGIN X509 CRL' "$P/crl/$name.pem")" 2
  check "ca/$name.pem begins with the root" same "$(certificate "$P/ca/$name.pem" -fingerprint)" "$(certificate "$P/ca/root.pem" -fingerprint)"
  check "ca/$name.pem holds two certificates" same "$(grep -c 'BEGIN CERT' "$P/ca/$name.pem")" 2
done
check 'the master is one line of 64 lower-case hex digits' grep -Eqx '[0-9a-f]{64}' "$P/master/current.hex"

# --- server ------------------------------------------------------------------------------------

check 'server makes a certificate' pki server feed --san DNS:localhost,IP:127.0.0.1,IP:::1
S=$P/servers/feed
check 'server verifies as a server, all CRLs checked' verifies servers sslserver "$S/server.pem"
check 'server certificate is not good for a client' not verifies servers sslclient "$S/server.pem"
check 'server SAN' says 'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1' certificate "$S/server.pem" -ext subjectAltName
check 'server EKU is serverAuth alone' same "$(certificate "$S/server.pem" -ext extendedKeyUsage | tail -n 1 | xargs)" 'TLS Web Server Authentication'
check 'server chain has two certificates' same "$(grep -c 'BEGIN CERT' "$S/server.pem")" 2
check 'server key fits' key_fits "$S/server.pem" "$S/server.key"
sum=$(tree_sum "$P")
check 'server twice succeeds' pki server feed --san DNS:localhost,IP:127.0.0.1,IP:::1
check 'server twice changed nothing' same "$(tree_sum "$P")" "$sum"
check 'server with other names is refused' refuses 4 pki server feed --san DNS:other
check 'server without --san is refused' refuses 2 pki server other
check 'server with a config injection as SAN is refused' refuses 2 pki server other --san $'DNS:x\nextendedKeyUsage=clientAuth'
check 'server with an empty name in the list is refused' refuses 2 pki server other --san DNS:x,
check 'server name with a path is refused' refuses 2 pki server ../../x --san DNS:x
check 'impossible address is refused' refuses 6 pki server other --san IP:999.1.1.1
check 'a failed server leaves nothing behind' not test -e "$P/servers/other"

# --- client ------------------------------------------------------------------------------------

check 'client makes a certificate' pki client acme/alice --role trader --server wss://feed.example:9443/v1/feed
A=$P/clients/acme/alice
check 'client verifies as a client, all CRLs checked' verifies clients sslclient "$A/client.pem"
check 'client certificate is not good for a server' not verifies clients sslserver "$A/client.pem"
check 'subject is O, OU, CN' same "$(certificate "$A/client.pem" -subject -nameopt RFC2253)" 'subject=CN=alice,OU=trader,O=acme'
check 'SAN is the identity URI alone' same "$(certificate "$A/client.pem" -ext subjectAltName | tail -n 1 | xargs)" 'URI:sealfeed://acme/alice'
check 'EKU is clientAuth alone' same "$(certificate "$A/client.pem" -ext extendedKeyUsage | tail -n 1 | xargs)" 'TLS Web Client Authentication'
check 'key usage is critical, digitalSignature alone' same "$(certificate "$A/client.pem" -ext keyUsage | xargs)" 'X509v3 Key Usage: critical Digital Signature'
check 'basic constraints are critical, CA:FALSE' same "$(certificate "$A/client.pem" -ext basicConstraints | xargs)" 'X509v3 Basic Constraints: critical CA:FALSE'
check 'subject key identifier is there' says 'Subject Key Identifier' text_of "$A/client.pem"
check 'authority key identifier is there' says 'Authority Key Identifier' text_of "$A/client.pem"
check 'signed with SHA-256' says 'ecdsa-with-SHA256' text_of "$A/client.pem"
check 'serial is 128 bits and positive' grep -Eqx '[4-7][0-9a-f]{31}' <<<"$(serial_of "$A/client.pem")"
age=$(($(date +%s) - $(epoch "$(certificate "$A/client.pem" -startdate)")))
check 'notBefore lies 5 minutes back' test "$age" -ge 300 -a "$age" -le 360
life=$(($(epoch "$(certificate "$A/client.pem" -enddate)") - $(epoch "$(certificate "$A/client.pem" -startdate)")))
check 'a trader lives 30 days' same "$life" $((30 * 86400 + 300))
check 'client key fits' key_fits "$A/client.pem" "$A/client.key"
check 'context.toml is what clients read' same "$(<"$A/context.toml")" "$(printf 'url = "wss://feed.example:9443/v1/feed"\nca = "ca.pem"\ncertificate = "client.pem"\nkey = "client.key"\norder_key = "order.key"')"
check 'ca.pem of the client verifies the server' openssl verify -purpose sslserver -CAfile "$A/ca.pem" "$S/server.pem"
sum=$(tree_sum "$P")
check 'client twice succeeds' pki client acme/alice --role trader
check 'client twice changed nothing' same "$(tree_sum "$P")" "$sum"
check 'client with another role is refused' refuses 4 pki client acme/alice --role admin
for bad in '../x' 'acme/..' 'acme/.hidden' 'acme/-x' 'a b/c' 'acme/a/b' 'acme/' "acme/$(printf 'a%.0s' {1..65})" $'acme/a\nb' 'acme/é'; do
  check "identity $(printf '%q' "${bad:0:20}") is refused" refuses 2 pki client "$bad" --role trader
done
check 'unknown role is refused' refuses 2 pki client acme/bob --role root
check 'too long a life is refused' refuses 2 pki client acme/bob --role trader --days 399
check 'http url is refused' refuses 2 pki client acme/bob --role trader --server http://x
check 'url with a quote is refused' refuses 2 pki client acme/bob --role trader --server 'wss://x/"'
check 'unknown option is refused' refuses 2 pki client acme/bob --role trader --force
check 'nothing outlives its CA' refuses 4 pki client acme/bob --role trader --not-after 2090-01-01T00:00:00Z
check 'Ed25519 client' pki client acme/bob --role viewer --key-type ed25519 --days=7
check 'Ed25519 client verifies' verifies clients sslclient "$P/clients/acme/bob/client.pem"
check 'Ed25519 key it is' says 'Public Key Algorithm: ED25519' text_of "$P/clients/acme/bob/client.pem"
check 'expired client' pki client acme/expired --role trader --not-before 2020-01-01T00:00:00Z --not-after 2020-02-01T00:00:00Z
check 'dates are as asked' same "$(certificate "$P/clients/acme/expired/client.pem" -enddate)" 'notAfter=Feb  1 00:00:00 2020 GMT'
check 'not yet valid client' pki client acme/future --role trader --not-before 2029-01-01T00:00:00+02:00 --not-after 2029-02-01T00:00:00Z
check 'time zones are honoured' same "$(certificate "$P/clients/acme/future/client.pem" -startdate)" 'notBefore=Dec 31 22:00:00 2028 GMT'
check 'expired does not verify' not verifies clients sslclient "$P/clients/acme/expired/client.pem"
check 'not yet valid does not verify' not verifies clients sslclient "$P/clients/acme/future/client.pem"

# --- signing requests --------------------------------------------------------------------------

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out own.key 2>/dev/null
openssl req -new -key own.key -subj /O=evil/CN=root -addext basicConstraints=critical,CA:TRUE -addext subjectAltName=URI:sealfeed://evil/root -out own.csr
check 'signing request is accepted' pki client acme/carol --role service --csr own.csr
C=$P/clients/acme/carol
check 'its subject is ours, not the one asked for' same "$(certificate "$C/client.pem" -subject -nameopt RFC2253)" 'subject=CN=carol,OU=service,O=acme'
check 'its extensions are ours' not says evil text_of "$C/client.pem"
check 'it is no CA' says 'CA:FALSE' text_of "$C/client.pem"
check 'its key is the one in the request' key_fits "$C/client.pem" own.key
check 'no private key is kept' not test -e "$C/client.key"
check 'renewal needs a new request' refuses 4 pki renew acme/carol
check 'renewal with the same key is refused' refuses 4 pki renew acme/carol --csr own.csr
openssl req -in own.csr -outform DER -out own.der
python3 - <<'PY'
import base64
der = bytearray(open("own.der", "rb").read())
der[-1] ^= 1
body = base64.encodebytes(bytes(der)).decode()
open("forged.csr", "w").write("-----BEGIN CERTIFICATE REQUEST-----\n" + body + "-----END CERTIFICATE REQUEST-----\n")
PY
check 'request with a wrong signature is refused' refuses 4 pki client acme/mallory --role trader --csr forged.csr
openssl req -new -newkey rsa:2048 -nodes -keyout weak.key -subj /CN=x -out weak.csr 2>/dev/null
check 'request with a weak key is refused' refuses 4 pki client acme/mallory --role trader --csr weak.csr
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -nodes -keyout odd.key -subj /CN=x -out odd.csr 2>/dev/null
check 'request with another curve is refused' refuses 4 pki client acme/mallory --role trader --csr odd.csr
head -c 1000 /dev/urandom >noise.csr
check 'request of noise is refused' refuses 4 pki client acme/mallory --role trader --csr noise.csr
head -c 70000 /dev/zero >huge.csr
check 'request over 64 KiB is refused' refuses 4 pki client acme/mallory --role trader --csr huge.csr
check 'refused requests leave no client' not test -e "$P/clients/acme/mallory"

# --- order keys --------------------------------------------------------------------------------

cat >vector.pem <<'PEM'
-----BEGIN CERTIFICATE-----
MIICAzCCAamgAwIBAgIQX6gHtkVmg7/Dj90qlwGkczAKBggqhkjOPQQDAjA8MREw
DwYDVQQKDAhzZWFsZmVlZDEnMCUGA1UEAwwec2VhbGZlZWQgREVNTyBjbGllbnQg
Q0EgOWViYTc1MB4XDTI2MTEyMjEzNDAzMloXDTI2MTIyMjEzNDUzMlowMDENMAsG
A1UECgwEYWNtZTEPMA0GA1UECwwGdHJhZGVyMQ4wDAYDVQQDDAVhbGljZTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABGhu2DRMuNMw5rygZZ1tLZgoL+qEMBKV59E2
+W/vGYum4vqqRNWnnRy56PzJPds6xMSr6zDNQTEpYISXCTbX2fSjgZgwgZUwHQYD
VR0OBBYEFPatjSqetbwgi6+pBFNtu8Ycv+JCMB8GA1UdIwQYMBaAFOkYMozQyY8G
Nhz9CpmBh9my3mhWMAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/BAQDAgeAMBMGA1Ud
JQQMMAoGCCsGAQUFBwMCMCAGA1UdEQQZMBeGFXNlYWxmZWVkOi8vYWNtZS9hbGlj
ZTAKBggqhkjOPQQDAgNIADBFAiA9gZN6JglsRomYg4J4b3/1OQnaOJAJSUP5L7HQ
j0kiwAIhALQLqJaNmHxjxMoWe+CNhmDktwERXbdzEWfEXVnO2+NC
-----END CERTIFICATE-----
PEM
printf '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n' >vector.hex
vector=8e0671d7ee5b5583fabf010abd4e3128db0c3745b3b1e522521f0031806896e5
check 'order key: pinned vector' same "$("$script" order-key vector.pem --master vector.hex)" "$vector"
check 'order key: the same from python3 hmac' same "$(python_order_key vector.hex vector.pem)" "$vector"
for name in alice bob carol; do
  check "order key of $name agrees with python3" same "$(<"$P/clients/acme/$name/order.key")" "$(python_order_key "$P/master/current.hex" "$P/clients/acme/$name/client.pem")"
done
printf 'ff%.0s' {1..32} >ones.hex
check 'order key of a master of ones agrees with python3' same "$("$script" order-key vector.pem --master ones.hex)" "$(python_order_key ones.hex vector.pem)"
printf 'FF%.0s' {1..32} >upper.hex
check 'a master in upper case is refused' refuses 6 "$script" order-key vector.pem --master upper.hex

# A stand-in for openssl that writes down what `ps` and /proc would show of it.
mkdir bin
real=$(command -v openssl)
cat >bin/openssl <<SPY
#!/usr/bin/env bash
{ printf '%s\n' "\$*"; env; } >>"$work/seen"
exec "$real" "\$@"
SPY
chmod +x bin/openssl
check 'a client made under observation' env PATH="$work/bin:$PATH" "$script" --dir "$P" client acme/dora --role trader
check 'the observer saw openssl at work' grep -q genpkey seen
check 'no argument or variable held the master' not grep -qiF "$(<"$P/master/current.hex")" seen
check 'no argument or variable held the order key' not grep -qiF "$(<"$P/clients/acme/dora/order.key")" seen

# --- bundle ------------------------------------------------------------------------------------

printf 'correct horse battery\n' >pass
check 'bundle with a PKCS#12' pki bundle acme/alice -o alice.tar --server wss://localhost:9443/v1/feed --p12 pass
mkdir -m 700 alice
check 'bundle unpacks' tar -xf alice.tar -C alice
check 'bundle holds these files and no other' same "$(find alice -type f -printf '%f ' | xargs -n 1 | sort | xargs)" 'ca.pem client.key client.p12 client.pem context.toml order.key'
check 'bundle is for its owner alone' mode_is 600 alice.tar
check 'unpacked client.key is 0600' mode_is 600 alice/client.key
check 'unpacked order.key is 0600' mode_is 600 alice/order.key
check 'unpacked url is the one asked for' grep -qx 'url = "wss://localhost:9443/v1/feed"' alice/context.toml
check 'PKCS#12 opens with its password' openssl pkcs12 -in alice/client.p12 -passin file:pass -noout
check 'PKCS#12 does not open with another' not openssl pkcs12 -in alice/client.p12 -passin pass:wrong -noout
check 'PKCS#12 is AES-256 with PBKDF2' says 'PBES2, PBKDF2, AES-256-CBC' openssl pkcs12 -in alice/client.p12 -passin file:pass -noout -info
check 'PKCS#12 MAC is SHA-256' says 'MAC: sha256' openssl pkcs12 -in alice/client.p12 -passin file:pass -noout -info
check 'PKCS#12 of an absent key is refused' refuses 4 pki bundle acme/carol -o carol.tar --p12 pass
check 'bundle without a key for a signing request' pki bundle acme/carol -o carol.tar
check 'it holds no key' same "$(tar -tf carol.tar | sort | xargs)" 'ca.pem client.pem context.toml order.key'
check 'bundle of an expired client is refused' refuses 4 pki bundle acme/expired -o expired.tar
check 'bundle of nobody is refused' refuses 3 pki bundle acme/nobody

# --- a real handshake --------------------------------------------------------------------------

# Starts a TLS 1.3 server for one connection that demands a certificate and checks all CRLs.
start_server() {
  local line
  cat "$P/ca/root.pem" "$P/crl/clients.pem" >trust.pem
  exec {lines}< <(exec openssl s_server -accept 127.0.0.1:0 -naccept 1 -tls1_3 -www -cert "$S/server.pem" \
    -cert_chain "$S/server.pem" -key "$S/server.key" -CAfile trust.pem -crl_check_all -Verify 3 -verify_return_error 2>&1)
  server_pid=$!
  port=''
  while [[ -z $port ]] && IFS= read -r -t 10 line <&"$lines"; do
    [[ $line != 'ACCEPT 127.0.0.1:'* ]] || port=${line##*:}
  done
  [[ -n $port ]]
}

# TLS 1.3 tells the client of a refusal only after its own Finished, so the page is the proof.
fetch() { # CA CERTIFICATE KEY, or CA alone
  local page code=1 identity=()
  start_server || return 2
  (($# == 1)) || identity=(-cert "$2" -cert_chain "$2" -key "$3")
  page=$(printf 'GET / HTTP/1.0\r\n\r\n' | timeout 20 openssl s_client -connect "127.0.0.1:$port" -tls1_3 -CAfile "$1" \
    -verify_return_error -verify_hostname localhost "${identity[@]}" -quiet -ign_eof 2>&1)
  [[ $page != *'HTTP/1.0 200 ok'* ]] || code=0
  kill "$server_pid" 2>/dev/null
  exec {lines}<&-
  server_pid=''
  printf '%s\n' "$page" >&2
  return $code
}
refused_handshake() { local code=0; fetch "$@" || code=$?; [[ $code == 1 ]]; }
alert() { local wanted=$1; shift; fetch "$@" 2>page && return 1; cat page; grep -qi "$wanted" page; }

"$script" --dir "$work/empty" client acme/alice --role trader >/dev/null
W=$work/empty/clients/acme/alice
check 'handshake: the bundle gets in' fetch alice/ca.pem alice/client.pem alice/client.key
check 'handshake: Ed25519 gets in' fetch "$A/ca.pem" "$P/clients/acme/bob/client.pem" "$P/clients/acme/bob/client.key"
check 'handshake: a client with its own key gets in' fetch "$C/ca.pem" "$C/client.pem" own.key
check 'handshake: no certificate is refused' alert 'certificate required' "$A/ca.pem"
check 'handshake: a certificate of another CA is refused' alert 'unknown ca' "$A/ca.pem" "$W/client.pem" "$W/client.key"
check 'handshake: the client refuses a server of another CA' refused_handshake "$W/ca.pem" "$A/client.pem" "$A/client.key"
check 'handshake: an expired certificate is refused' alert 'certificate expired' "$A/ca.pem" "$P/clients/acme/expired/client.pem" "$P/clients/acme/expired/client.key"
check 'handshake: one not yet valid is refused' alert 'bad certificate' "$A/ca.pem" "$P/clients/acme/future/client.pem" "$P/clients/acme/future/client.key"
check 'handshake: a server certificate as client is refused' refused_handshake "$A/ca.pem" "$S/server.pem" "$S/server.key"

# --- revoke and crl ----------------------------------------------------------------------------

before=$(crl_number "$P/authority/clients/crl.pem")
check 'revoke without a reason is refused' refuses 2 pki revoke acme/alice
check 'revoke with an unknown reason is refused' refuses 2 pki revoke acme/alice --reason bored
check 'revoke of nobody is refused' refuses 3 pki revoke acme/nobody --reason superseded
check 'revoke' pki revoke acme/alice --reason keyCompromise
check 'the CRL number grew by one' same "$(crl_number "$P/authority/clients/crl.pem")" $((before + 1))
check 'the published bundle has the new CRL' same "$(tail -n +"$(grep -n BEGIN "$P/crl/clients.pem" | tail -n 1 | cut -d: -f1)" "$P/crl/clients.pem")" "$(<"$P/authority/clients/crl.pem")"
alice_serial=$(serial_of "$A/client.pem")
check 'the CRL names serial and reason' says "Serial Number: ${alice_serial^^}" openssl crl -in "$P/authority/clients/crl.pem" -noout -text
check 'the reason is in it' says 'Key Compromise' openssl crl -in "$P/authority/clients/crl.pem" -noout -text
check 'a revoked client does not verify' not verifies clients sslclient "$A/client.pem"
check 'handshake: a revoked certificate is refused' alert 'certificate revoked' "$A/ca.pem" "$A/client.pem" "$A/client.key"
check 'handshake: others still get in' fetch "$A/ca.pem" "$P/clients/acme/bob/client.pem" "$P/clients/acme/bob/client.key"
before=$(crl_number "$P/authority/clients/crl.pem")
check 'revoke twice succeeds' pki revoke acme/alice --reason keyCompromise
check 'revoke twice changed nothing' same "$(crl_number "$P/authority/clients/crl.pem")" "$before"
check 'bundle of a revoked client is refused' refuses 4 pki bundle acme/alice
check 'renewal of a revoked client is refused' refuses 4 pki renew acme/alice
check 'unless it is reinstated' pki renew acme/alice --reinstate
check 'a reinstated client verifies' verifies clients sslclient "$A/client.pem"
check 'hold' pki revoke acme/bob --reason certificateHold
check 'a held client does not verify' not verifies clients sslclient "$P/clients/acme/bob/client.pem"
check 'release' pki revoke acme/bob --reason removeFromCRL
check 'a released client verifies' verifies clients sslclient "$P/clients/acme/bob/client.pem"
check 'hold again' pki revoke acme/bob --reason certificateHold
check 'a hold can become final' pki revoke acme/bob --reason cessationOfOperation
before=$(crl_number "$P/authority/clients/crl.pem")
check 'a final revocation is never lifted' pki revoke acme/bob --reason removeFromCRL
check 'the CRL stayed' same "$(crl_number "$P/authority/clients/crl.pem")" "$before"
check 'revoke by serial' pki revoke "$(serial_of "$P/clients/acme/dora/client.pem")" --reason unspecified
check 'its client does not verify' not verifies clients sslclient "$P/clients/acme/dora/client.pem"
check 'revoke a server' pki revoke feed --reason superseded
check 'a revoked server does not verify' not verifies servers sslserver "$S/server.pem"
check 'renew the server' pki renew feed --reinstate
check 'the new server verifies' verifies servers sslserver "$S/server.pem"
check 'the new server has the old names' says 'DNS:localhost, IP Address:127.0.0.1' certificate "$S/server.pem" -ext subjectAltName
before=$(crl_number "$P/authority/root/crl.pem")
check 'crl' pki crl --days 3
check "the root's CRL number grew" same "$(crl_number "$P/authority/root/crl.pem")" $((before + 1))
left=$(($(epoch "$(openssl crl -in "$P/authority/clients/crl.pem" -noout -nextupdate)") - $(epoch "$(openssl crl -in "$P/authority/clients/crl.pem" -noout -lastupdate)")))
check 'nextUpdate is 3 days after thisUpdate' same "$left" $((3 * 86400))
before=$(crl_number "$P/authority/clients/crl.pem")
printf '01\n' >"$P/authority/clients/crlnumber"
check 'crl after a restored old counter' pki crl
check 'the CRL number did not fall' same "$(crl_number "$P/authority/clients/crl.pem")" $((before + 1))
mv "$P/authority/root" root.offline
check 'crl while the root is offline' pki crl
check 'crl/clients.pem still holds two CRLs' same "$(grep -c 'BEGIN X509 CRL' "$P/crl/clients.pem")" 2
check 'verify while the root is offline' pki verify
mv root.offline "$P/authority/root"
check 'a CRL of the past can be made for tests' pki crl --this-update 2020-01-01T00:00:00Z --next-update 2020-01-02T00:00:00Z
check 'verify finds it' not pki verify
check 'and crl repairs it' pki crl

# --- renew, expiring, list ---------------------------------------------------------------------

pki client acme/erin --role trader --key-type ed25519 --days 5 --server wss://feed.example:9443/v1/feed >/dev/null
E=$P/clients/acme/erin
old_serial=$(serial_of "$E/client.pem")
cp "$E/client.pem" old-erin.pem
check 'expiring finds what ends in 5 days' same "$(pki expiring >/dev/null; echo $?)" 1
check 'and names it' says 'client acme/erin' pki expiring
check 'renew' pki renew acme/erin --revoke-old
check 'the key is new' not same "$(certificate old-erin.pem -pubkey)" "$(certificate "$E/client.pem" -pubkey)"
check 'identity and role are the same' same "$(certificate "$E/client.pem" -subject)" "$(certificate old-erin.pem -subject)"
check 'the key type is the same' says ED25519 text_of "$E/client.pem"
check 'the url is the same' grep -q feed.example "$E/context.toml"
check 'the order key is that of the new certificate' same "$(<"$E/order.key")" "$(python_order_key "$P/master/current.hex" "$E/client.pem")"
check 'the old certificate is revoked as superseded' grep -q "\"action\":\"revoke\",\"serial\":\"$old_serial\".*\"reason\":\"superseded\"" "$P/issuance.log"
check 'the new one verifies' verifies clients sslclient "$E/client.pem"
check 'expiring is content again' pki expiring
check 'expiring --within 60 is not' same "$(pki expiring --within 60 >/dev/null; echo $?)" 1
check 'list shows identity and status' says 'acme/erin' pki list
check 'list counts all' says "$(cat "$P"/authority/*/index.txt | wc -l) certificates" pki list
check 'show' says 'the current master' pki show acme/erin
check 'show by serial' says 'O=acme,OU=trader,CN=erin' pki show "$old_serial"

# --- rotate-master -----------------------------------------------------------------------------

old_master=$(<"$P/master/current.hex") old_key=$(<"$E/order.key")
check 'rotate-master' pki rotate-master
check 'the old master is the previous one' same "$(<"$P/master/previous.hex")" "$old_master"
check 'the current one is new' not same "$(<"$P/master/current.hex")" "$old_master"
check 'the order key is new' not same "$(<"$E/order.key")" "$old_key"
check 'and comes from the new master' same "$(<"$E/order.key")" "$(python_order_key "$P/master/current.hex" "$E/client.pem")"
printf '%s\n' "$old_key" >"$E/order.key"
check 'show tells a key of the previous master' says 'the previous master' pki show acme/erin
check 'verify accepts it' pki verify
check 'a second rotation' pki rotate-master
printf '%s\n' "$old_key" >"$E/order.key"
check 'verify finds a key of no live master' not pki verify
check 'bundle repairs it' pki bundle acme/erin -o erin.tar
check 'verify is content again' pki verify
check 'drop the previous master' pki rotate-master --drop-previous
check 'it is gone' not test -e "$P/master/previous.hex"

# --- files, log, concurrency, crashes ----------------------------------------------------------

check 'every directory is 0700' same "$(find "$P" -type d ! -perm 700)" ''
check 'every key and secret is 0600' same "$(find "$P" \( -name '*.key' -o -name '*.hex' -o -name '*.log' -o -name index.txt \) ! -perm 600)" ''
check 'nothing is writable for others' same "$(find "$P" -perm /022)" ''
chmod 644 "$E/client.key"
check 'verify finds an open key' says 'is open to others' pki verify
chmod 600 "$E/client.key"
check 'the log is JSON with its seven fields in every line' python3 - "$P/issuance.log" <<'PY'
import json, sys
fields = {"time", "action", "serial", "subject", "notAfter", "sha256", "reason"}
lines = open(sys.argv[1]).read().splitlines()
assert len(lines) > 20
for line in lines:
    assert fields <= set(json.loads(line)), line
PY
check 'the log names the revocation' grep -q "\"action\":\"revoke\",\"serial\":\"$alice_serial\",\"subject\":\"O=acme,OU=trader,CN=alice\".*\"reason\":\"keyCompromise\"" "$P/issuance.log"
sed -i "/$alice_serial/d" "$P/issuance.log"
check 'verify finds a log with a line cut out' not pki verify
P=$work/second
pki init >/dev/null

check 'a client of a CA that will be revoked' pki client acme/frank --role trader
cp -a "$P" "$work/third"
P=$work/third
check 'revoke the client CA' pki revoke "$(serial_of "$P/authority/clients/ca.pem")" --reason cACompromise
check 'its clients do not verify' not verifies clients sslclient "$P/clients/acme/frank/client.pem"
P=$work/second

concurrent() {
  local pids=() one code=0
  for one in 1 2 3 4; do pki client "acme/c$one" --role viewer & pids+=($!); done
  for one in "${pids[@]}"; do wait "$one" || code=1; done
  return $code
}
check 'four runs at once all succeed' concurrent
check 'and all are in the index' same "$(wc -l <"$P/authority/clients/index.txt")" 5

reader_sees_whole_files() {
  local pid reads=0
  for _ in 1 2 3; do pki crl || exit 1; done & pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    [[ $(openssl crl -in "$P/crl/clients.pem" -noout 2>&1) == '' && $(tail -n 1 "$P/crl/clients.pem") == '-----END X509 CRL-----' ]] || return 1
    reads=$((reads + 1))
  done
  wait "$pid" && ((reads > 0))
}
check 'a reader never sees half a CRL file' reader_sees_whole_files

# kill -9 at every step that changes something in a renewal with revocation: what stands must verify.
# Each change is a rename, or a line of the log, which `sync` follows. The stand-ins of the two count
# their calls and at call $CRASH_AT kill pki.sh instead of doing their work.
rm bin/openssl
for tool in sync mv; do
  real=$(command -v "$tool")
  cat >"bin/$tool" <<CRASH
#!/usr/bin/env bash
printf x >>"$work/calls"
if [[ \$(stat -c %s "$work/calls") == "\${CRASH_AT:-0}" ]]; then kill -9 "\$(<"$work/pid")"; exit 1; fi
exec "$real" "\$@"
CRASH
  chmod +x "bin/$tool"
done
crashing() { # AT COMMAND...
  : >calls
  CRASH_AT=$1 PATH="$work/bin:$PATH" bash -c 'echo $$ >"$1"; shift; exec "$@"' _ "$work/pid" "$script" --dir "$P" "${@:2}"
}
crashing 0 renew acme/c1 --revoke-old >/dev/null 2>&1
calls=$(stat -c %s calls)
survives_kills() {
  local at
  for ((at = 1; at <= calls; at++)); do
    crashing "$at" renew acme/c1 --revoke-old >/dev/null 2>&1
    [[ $(stat -c %s calls) -ge $at ]] || return 1
    pki verify || { echo "after a kill at call $at of $calls"; return 1; }
    [[ -f $P/clients/acme/c1/client.key && -f $P/clients/acme/c1/order.key ]] || return 1
    [[ $(find "$P" -name '.stage.*' -o -name '.*.replaced') == '' ]] || return 1
  done
}
check "a renewal killed at each of its $calls steps leaves a PKI that verifies" survives_kills
check 'and the next renewal goes through' pki renew acme/c1 --revoke-old --reinstate

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
