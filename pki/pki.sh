#!/usr/bin/env bash
# The certificate authority bundled with sealfeed: root, issuing CAs, certificates, CRLs, order keys.
#
# Needs bash 5, openssl 3, GNU coreutils and tar. README.md documents the layout, the profiles and
# the daily work. Invariants of this file:
#   - Nothing is half made: every result is built in DIR/.stage.* and renamed into place, after the
#     index and the issuance log know of it. A certificate that exists can always be revoked.
#   - Secrets never stand in the argument list or the environment of any process. The order key is
#     computed with shell built-ins and `openssl dgst`, which reads its input from a pipe, because
#     `openssl kdf` and `openssl mac` take keys in arguments only, where `ps` shows them.
#   - A CRL number never falls and is never used twice, even after a restored backup.
# Sources: RFC 5280 (certificates, CRLs), RFC 5869 (HKDF), RFC 2104 (HMAC).
set -euo pipefail
umask 077
export TZ=UTC LC_ALL=C

readonly BACKDATE_S=300            # certificates start 5 minutes ago: clocks differ
readonly DAY_S=86400
readonly ROOT_DAYS=3650 ISSUING_DAYS=1825
readonly LEAF_DAYS_MAX=398 SERVER_DAYS=365
readonly CRL_DAYS=30 ROOT_CRL_DAYS=365
readonly EXPIRING_DAYS=14
readonly LOCK_WAIT_S=30
readonly CSR_BYTES_MAX=65536
readonly DEFAULT_URL='wss://localhost:9443/v1/feed'
readonly ORDER_KEY_INFO='sealfeed order key v1'

readonly EXIT_FOUND=1 EXIT_USAGE=2 EXIT_ABSENT=3 EXIT_REFUSED=4 EXIT_BUSY=5 EXIT_FAILED=6

dir=${SEALFEED_PKI_DIR:-./pki-data}
stage='' made_stage='' partial_file=''
declare -A OPT=()
ARGS=()

# --- What the reader sees ----------------------------------------------------------------------

die() { # CODE MESSAGE [HINT]
  printf 'pki: error: %s\n' "$2" >&2
  [[ -z ${3:-} ]] || printf 'pki: hint: %s\n' "$3" >&2
  exit "$1"
}

made() { printf 'made:  %s\n' "$1"; }
note() { printf 'note:  %s\n' "$1"; }
until_() { printf 'until: %s\n' "$1"; }
next() { printf 'next:  %s\n' "$1"; }

# How the reader must call us again: with --dir only where it was not the default.
self() {
  if [[ $dir == "$PWD/pki-data" || $dir == "${SEALFEED_PKI_DIR:-}" ]]; then printf '%s' "$0"
  else printf '%s --dir %q' "$0" "$dir"; fi
}

help_overview() {
  cat <<'TEXT'
pki.sh: the certificate authority of sealfeed

  pki.sh [--dir DIR] COMMAND [OPTIONS]      DIR: $SEALFEED_PKI_DIR, else ./pki-data
  pki.sh COMMAND --help

  init           make the root, the two issuing CAs, their CRLs and the master secret
  server         a server certificate
  client         a client certificate, its order key and its context file
  renew          the same identity, a new key
  revoke         revoke certificates and publish the new CRL
  crl            publish fresh CRLs (run it daily)
  list           every certificate ever issued
  show           one identity or certificate in full
  expiring       what ends soon; exit code 1 if anything does
  bundle         one tar with all that a client needs
  rotate-master  a new master secret for order keys, the old one stays valid beside it
  order-key      print the order key of a certificate (for test vectors and other tools)
  verify         check everything in DIR; exit code 1 if anything is wrong

Exit codes: 0 done (or already so), 1 something was found (expiring, verify), 2 wrong usage,
3 not there, 4 refused, 5 another pki.sh holds the lock, 6 openssl or the file system failed.
TEXT
}

help_command() {
  case $1 in
    init) cat <<'TEXT'
pki.sh init [--org NAME] [--demo]
  Makes root CA (path length 1), issuing CAs for servers and for clients (path length 0), a CRL for
  each of the three, and master/current.hex. Existing PKI: changes nothing, exit code 0.
  --org NAME   organisation in the CA names (default sealfeed)
  --demo       the CA names carry the word DEMO, so nobody takes them for real ones
TEXT
      ;;
    server) cat <<'TEXT'
pki.sh server NAME --san DNS:host,IP:addr [--days N]
  Makes servers/NAME/server.pem (with chain) and server.key; extended key usage serverAuth only.
  --days N                    life in days, 1 to 398 (default 365)
  --not-before, --not-after   exact dates, RFC 3339 (for tests and planned cut-overs; no limit of 398)
TEXT
      ;;
    client) cat <<'TEXT'
pki.sh client FIRM/USER --role trader|viewer|service|admin [OPTIONS]
  Makes clients/FIRM/USER/: client.pem (with chain), client.key, order.key, ca.pem, context.toml.
  --role R                    stands in the subject as OU
  --days N                    1 to 398 (default: trader 30, viewer 90, service 90, admin 30)
  --key-type p256|ed25519     default p256; browsers need p256
  --csr FILE                  the client made its own key: only the public key of FILE is taken
  --server URL                url in context.toml (default wss://localhost:9443/v1/feed)
  --not-before, --not-after   exact dates, RFC 3339 (for tests and planned cut-overs; no limit of 398)
TEXT
      ;;
    renew) cat <<'TEXT'
pki.sh renew FIRM/USER|SERVER-NAME [OPTIONS]
  A new key and certificate for the same identity and role. The old certificate stays valid until
  it ends, so a client can change over in peace, unless --revoke-old.
  --revoke-old                revoke every older certificate of the identity (superseded)
  --reinstate                 needed when the present certificate is revoked
  --role R                    a new role (clients)
  --san LIST                  new names (servers)
  --days, --key-type, --csr, --server, --not-before, --not-after as for client; the key type, the
  names and the url stay as they were unless given
TEXT
      ;;
    revoke) cat <<'TEXT'
pki.sh revoke FIRM/USER|SERVER-NAME|SERIAL --reason R [--days N]
  Revokes every live certificate of the identity, or the one with that serial number (a CA's too),
  and publishes the CRL.
  --reason R   unspecified, keyCompromise, cACompromise, affiliationChanged, superseded,
               cessationOfOperation, certificateHold; removeFromCRL lifts a certificateHold
  --days N     life of the new CRL (default 30; root: 365)
TEXT
      ;;
    crl) cat <<'TEXT'
pki.sh crl [--days N] [--root-days N]
  Publishes new CRLs of all CAs: crl/root.pem, crl/servers.pem, crl/clients.pem. While authority/root
  is offline the root's CRL stays as it is.
  --days N                      life of the issuing CAs' CRLs, 1 to 398 (default 30)
  --root-days N                 life of the root's CRL, 1 to 398 (default 365)
  --this-update, --next-update  exact dates, RFC 3339, for all three (for tests)
TEXT
      ;;
    list) printf '%s\n' 'pki.sh list' '  One line a certificate: serial, status, end, kind, role, identity.' ;;
    show) printf '%s\n' 'pki.sh show FIRM/USER|SERVER-NAME|SERIAL' '  One certificate in full, with its files and which master its order key comes from.' ;;
    expiring) cat <<'TEXT'
pki.sh expiring [--within DAYS]
  Certificates, CAs and CRLs that end within DAYS (default 14) or ended that recently. Renewed and
  revoked certificates are left out. Exit code 1 if there are any.
TEXT
      ;;
    bundle) cat <<'TEXT'
pki.sh bundle FIRM/USER [-o FILE.tar] [--server URL] [--p12 PASSFILE]
  One tar: ca.pem, client.pem, client.key, order.key, context.toml. It holds secrets: mode 0600.
  -o FILE.tar      default ./FIRM-USER.tar
  --server URL     url in the context file (default: the one given to client)
  --p12 PASSFILE   adds client.p12 for browsers (AES-256); first line of PASSFILE is its password
TEXT
      ;;
    rotate-master) cat <<'TEXT'
pki.sh rotate-master [--drop-previous]
  master/current.hex becomes master/previous.hex, a new one is made, and the order keys of all live
  clients are derived again. Both masters are good until the next rotation.
  --drop-previous  no rotation: delete previous.hex, so that only the current master is good
TEXT
      ;;
    order-key) cat <<'TEXT'
pki.sh order-key CERTIFICATE.pem [--master FILE]
  Prints the order key that belongs to the first certificate in the file, 64 hex digits and nothing
  else. It is a secret. --master FILE: one line of 64 hex digits (default DIR/master/current.hex).
TEXT
      ;;
    verify) printf '%s\n' 'pki.sh verify' '  Checks chains, keys, CRLs, order keys, permissions and the log against the index. Exit code 1 if anything is wrong.' ;;
    *) help_overview ;;
  esac
}

# --- Arguments ---------------------------------------------------------------------------------

# Fills OPT and ARGS. SPEC: words; 'name=' takes a value, 'name' is a flag.
parse_options() { # SPEC ARGUMENTS...
  local spec=" $1 " name
  shift
  while (($#)); do
    case $1 in
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
      -o) name=output ;;
      --*) name=${1#--} ;;
      -*) die $EXIT_USAGE "unknown option $1" "see pki.sh $command --help" ;;
      *) ARGS+=("$1"); shift; continue ;;
    esac
    if [[ $spec == *" $name= "* ]]; then
      (($# > 1)) || die $EXIT_USAGE "$1 needs a value" "see pki.sh $command --help"
      OPT[$name]=$2
      shift 2
    elif [[ $spec == *" $name "* ]]; then OPT[$name]=yes; shift
    else die $EXIT_USAGE "unknown option $1" "see pki.sh $command --help"; fi
  done
}

expect_arguments() { # COUNT WHAT
  ((${#ARGS[@]} == $1)) ||
    die $EXIT_USAGE "$command takes $2" "see pki.sh $command --help"
}

# Names become path components and subject attributes: a narrow alphabet, no '.', '..' or '-x'.
check_name() { # WHAT VALUE
  [[ $2 =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$ ]] ||
    die $EXIT_USAGE "$1 '$2' is not a valid name" \
      "1 to 64 of A-Z a-z 0-9 . _ -, not starting with '.' or '-'"
}

split_identity() { # FIRM/USER -> firm, user
  [[ $1 == */* ]] || die $EXIT_USAGE "'$1' is not FIRM/USER" "for example acme/alice"
  firm=${1%%/*} user=${1#*/}
  check_name firm "$firm"
  check_name user "$user"
}

check_days() { # OPTION VALUE
  [[ $2 =~ ^[1-9][0-9]{0,2}$ && $2 -le $LEAF_DAYS_MAX ]] ||
    die $EXIT_USAGE "--$1 $2: not a number of days from 1 to $LEAF_DAYS_MAX"
}

check_url() {
  [[ $1 =~ ^wss://[A-Za-z0-9._:-]+(/[A-Za-z0-9._~/-]*)?$ || $1 =~ ^wss://\[[0-9A-Fa-f:]+\](:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$ ]] ||
    die $EXIT_USAGE "--server '$1' is not a wss:// address" "for example $DEFAULT_URL"
}

check_role() {
  [[ $1 =~ ^(trader|viewer|service|admin)$ ]] ||
    die $EXIT_USAGE "--role '${1:-}' is not a profile" 'trader, viewer, service or admin'
}

role_days() {
  case $1 in trader | admin) printf 30 ;; *) printf 90 ;; esac
}

# --- Time: stamps are YYYYMMDDHHMMSS, UTC, so that they compare as text --------------------------

now_s() { printf '%(%s)T' -1; }
stamp() { printf '%(%Y%m%d%H%M%S)T' "$1"; }
pretty() { printf '%s-%s-%sT%s:%s:%sZ' "${1:0:4}" "${1:4:2}" "${1:6:2}" "${1:8:2}" "${1:10:2}" "${1:12:2}"; }

rfc3339_stamp() { # OPTION VALUE
  local seconds=''
  if [[ $2 =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$ ]]; then
    seconds=$(date -u -d "$2" +%s 2>/dev/null) || seconds=''
  fi
  [[ -n $seconds ]] ||
    die $EXIT_USAGE "--$1 '$2' is not an RFC 3339 time" 'for example 2026-01-31T09:30:00Z'
  stamp "$seconds"
}

openssl_stamp() { # "notAfter=Jan 31 09:30:00 2026 GMT" -> stamp
  local seconds
  seconds=$(date -u -d "${1#*=}" +%s) || die $EXIT_FAILED "unreadable date '$1'"
  stamp "$seconds"
}

certificate_end() { local text; text=$(openssl x509 -in "$1" -noout -enddate); openssl_stamp "$text"; }
crl_end() { local text; text=$(openssl crl -in "$1" -noout -nextupdate); openssl_stamp "$text"; }

# Sets start and end from --not-before, --not-after and --days.
validity() { # DEFAULT_DAYS
  local now days=${OPT[days]:-$1}
  now=$(now_s)
  check_days days "$days"
  start=$(stamp $((now - BACKDATE_S)))
  end=$(stamp $((now + days * DAY_S)))
  [[ -z ${OPT[not-before]:-} ]] || start=$(rfc3339_stamp not-before "${OPT[not-before]}")
  [[ -z ${OPT[not-after]:-} ]] || end=$(rfc3339_stamp not-after "${OPT[not-after]}")
  [[ $start < $end ]] || die $EXIT_USAGE 'the certificate would end before it starts' \
    'give both --not-before and --not-after'
}

# --- Files, lock, log --------------------------------------------------------------------------

# Renames SOURCE (same file system) to TARGET once its bytes are on disk.
install_file() { # SOURCE TARGET MODE
  chmod "$3" "$1"
  sync "$1"
  mv -f "$1" "$2"
}

# Puts a finished directory in the place of an old one; recover() completes an interrupted swap.
install_directory() { # SOURCE TARGET
  local parent=${2%/*} name=${2##*/}
  mkdir -p "$parent"
  [[ ! -e $2 ]] || mv -T "$2" "$parent/.$name.replaced"
  mv -T "$1" "$2"
  rm -rf "${parent:?}/.$name.replaced"
}

recover() {
  local old target
  rm -rf "${dir:?}"/.stage.*
  for old in "$dir"/clients/*/.*.replaced "$dir"/servers/.*.replaced; do
    [[ -d $old ]] || continue
    target=${old##*/} target=${target#.} target=${old%/*}/${target%.replaced}
    if [[ -e $target ]]; then rm -rf "$old"; else mv -T "$old" "$target"; fi
  done
}

open_stage() { # PARENT
  made_stage=$(mktemp -d "$1/.stage.XXXXXXXX") || die $EXIT_FAILED "cannot write in $1"
  stage=$made_stage
}

lock=''
close_stage() {
  [[ -z $partial_file ]] || rm -f "$partial_file"
  [[ -z $made_stage ]] || rm -rf "$made_stage"
  [[ -z $lock ]] || rmdir "$lock" 2>/dev/null || true
}
trap close_stage EXIT

org='' demo='' authority_id=''
read_settings() {
  local line
  [[ -f $dir/pki.conf ]] || die $EXIT_ABSENT "there is no PKI in $dir" "make one: $(self) init"
  while IFS= read -r line; do
    case $line in
      org=*) org=${line#*=} ;;
      demo=*) demo=${line#*=} ;;
      id=*) authority_id=${line#*=} ;;
      format=1) ;;
      *) die $EXIT_FAILED "$dir/pki.conf: unknown line '$line'" 'a newer pki.sh may have written it' ;;
    esac
  done <"$dir/pki.conf"
}

# Opens the PKI for a command that writes: settings, lock, leftovers of a killed run, a stage.
open_for_writing() {
  read_settings
  if command -v flock >/dev/null; then
    exec {lock_fd}>"$dir/.lock"
    flock -w $LOCK_WAIT_S "$lock_fd" || die $EXIT_BUSY "another pki.sh works in $dir" 'try again when it is done'
  else
    mkdir "$dir/.lock.d" 2>/dev/null ||
      die $EXIT_BUSY "another pki.sh works in $dir" "if none does, it was killed: rmdir $dir/.lock.d"
    lock=$dir/.lock.d
  fi
  recover
  open_stage "$dir"
}

json_or_null() { if [[ -n $1 ]]; then printf '"%s"' "$1"; else printf null; fi; }

# One JSON line. Every value comes from a checked alphabet that needs no escapes.
log_event() { # ACTION SERIAL SUBJECT END_STAMP SHA256 REASON [CRL_NUMBER]
  local end='' line
  [[ -z $4 ]] || end=$(pretty "$4")
  line=$(printf '{"time":"%s","action":"%s","serial":%s,"subject":%s,"notAfter":%s,"sha256":%s,"reason":%s,"crlNumber":%s}' \
    "$(pretty "$(stamp "$(now_s)")")" "$1" "$(json_or_null "${2,,}")" "$(json_or_null "$3")" \
    "$(json_or_null "$end")" "$(json_or_null "$5")" "$(json_or_null "$6")" "${7:-null}")
  printf '%s\n' "$line" >>"$dir/issuance.log"
  sync "$dir/issuance.log"
}

# --- openssl -----------------------------------------------------------------------------------

run_openssl() {
  openssl "$@" >"$stage/openssl.out" 2>"$stage/openssl.err" && return
  local line text=''
  while IFS= read -r line; do text+="${text:+; }$line"; done <"$stage/openssl.err"
  die $EXIT_FAILED "openssl $1 failed: ${text:-no message}"
}

generate_key() { # TYPE FILE
  case $1 in
    p256) run_openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve -out "$2" ;;
    ed25519) run_openssl genpkey -algorithm ED25519 -out "$2" ;;
    *) die $EXIT_USAGE "--key-type '$1' is unknown" 'p256 or ed25519' ;;
  esac
  chmod 0600 "$2"
}

public_key_of() { openssl x509 -in "$1" -noout -pubkey; }

key_type_of() { # CERTIFICATE
  local text
  text=$(openssl x509 -in "$1" -noout -text)
  case $text in *'Public Key Algorithm: ED25519'*) printf ed25519 ;; *) printf p256 ;; esac
}

# Accepts what the product's own TLS accepts: named curves P-256 and P-384, Ed25519, RSA from 3072 bits.
check_public_key() { # PUBLIC_KEY_FILE
  local text
  text=$(openssl pkey -pubin -in "$1" -noout -text 2>/dev/null) || text=''
  case $text in
    *'ASN1 OID: prime256v1'* | *'ASN1 OID: secp384r1'* | *'ED25519 Public-Key'*) return ;;
  esac
  if [[ $text =~ Public-Key:\ \(([0-9]+)\ bit\) && $text == *Modulus:* ]]; then
    ((BASH_REMATCH[1] >= 3072 && BASH_REMATCH[1] <= 8192)) && return
  fi
  die $EXIT_REFUSED 'the key in the signing request is not accepted' 'P-256, P-384, Ed25519, or RSA of 3072 to 8192 bits'
}

# The text of the certificate extensions; SAN may be empty (CAs).
extensions_text() { # PROFILE [SAN]
  printf '[ext]\nsubjectKeyIdentifier = hash\n'
  [[ $1 == root ]] || printf 'authorityKeyIdentifier = keyid:always\n'
  case $1 in
    root) printf 'basicConstraints = critical,CA:TRUE,pathlen:1\nkeyUsage = critical,keyCertSign,cRLSign\n' ;;
    # An issuing CA says what it may issue for: a server CA cannot make a client, nor the reverse.
    servers) printf 'basicConstraints = critical,CA:TRUE,pathlen:0\nkeyUsage = critical,keyCertSign,cRLSign\nextendedKeyUsage = serverAuth\n' ;;
    clients) printf 'basicConstraints = critical,CA:TRUE,pathlen:0\nkeyUsage = critical,keyCertSign,cRLSign\nextendedKeyUsage = clientAuth\n' ;;
    server) printf 'basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = serverAuth\n' ;;
    client) printf 'basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = clientAuth\n' ;;
  esac
  [[ -z ${2:-} ]] || printf 'subjectAltName = %s\n' "$2"
}

# --- Authorities: root, servers, clients. `openssl ca` works on a copy of the index in the stage -----

authority_dir() { printf '%s/authority/%s' "$dir" "$1"; }

stage_authority() { # AUTHORITY
  local home work=$stage/$1 number published
  home=$(authority_dir "$1")
  [[ ! -d $work ]] || return 0
  [[ -f $home/ca.key ]] || die $EXIT_ABSENT "the key of the $1 CA is not in $home" 'bring the directory back from where it is kept offline'
  mkdir "$work" "$work/new"
  cp "$home/index.txt" "$home/crlnumber" "$work/"
  if [[ -f $home/crl.pem ]]; then
    number=$(<"$work/crlnumber")
    published=$(openssl crl -in "$home/crl.pem" -noout -crlnumber)
    published=${published#*=} published=${published#0x}
    ((16#$number > 16#$published)) || hex_even $((16#$published + 1)) >"$work/crlnumber"
  fi
  cat >"$work/ca.cnf" <<'CNF'
[ca]
default_ca = this
[this]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = new
default_md = sha256
policy = any
copy_extensions = none
unique_subject = no
crl_extensions = crl_extensions
[any]
organizationName = supplied
organizationalUnitName = optional
commonName = supplied
[crl_extensions]
authorityKeyIdentifier = keyid:always
[req]
distinguished_name = empty
string_mask = utf8only
[empty]
CNF
}

hex_even() { local h; printf -v h '%x' "$1"; ((${#h} % 2 == 0)) || h=0$h; printf '%s\n' "${h^^}"; }

# 128 bits, positive, always 16 bytes long: the first hex digit is 4 to 7, the other 126 bits random.
new_serial() {
  local hex
  hex=$(openssl rand -hex 16)
  printf '%x%s' $((4 + 16#${hex:0:1} % 4)) "${hex:1}"
}

make_request() { # KEY CSR
  printf '[req]\ndistinguished_name = empty\n[empty]\n' >"$stage/req.cnf"
  run_openssl req -new -config "$stage/req.cnf" -key "$1" -subj /CN=x -out "$2"
}

# Signs into the staged copy. Subject and extensions are ours: nothing but the key comes from CSR.
sign_certificate() { # AUTHORITY CSR SUBJECT PROFILE SAN OUT [SIGN_OPTION]; reads start, end
  local work=$stage/$1 home issuer_end
  home=$(authority_dir "$1")
  stage_authority "$1"
  if [[ ${7:-} != -selfsign ]]; then
    issuer_end=$(certificate_end "$home/ca.pem")
    [[ ! $end > $issuer_end ]] || die $EXIT_REFUSED \
      "the certificate would outlive its CA, which ends $(pretty "$issuer_end")" 'fewer --days, or a new PKI beside this one'
  fi
  serial=$(new_serial)
  printf '%s\n' "$serial" >"$work/serial"
  extensions_text "$4" "$5" >"$work/ext.cnf"
  (cd "$work" && run_openssl ca -config ca.cnf -batch -notext ${7:+"$7"} -in "$2" -subj "$3" -utf8 \
    -startdate "${start}Z" -enddate "${end}Z" -extfile ext.cnf -extensions ext \
    -cert "$home/ca.pem" -keyfile "$home/ca.key" -out "$6")
}

fingerprint() { local text; text=$(openssl x509 -in "$1" -outform DER | openssl dgst -sha256 -r); printf '%s' "${text%% *}"; }

subject_text() { local text=${1#/}; printf '%s' "${text//\//,}"; } # /O=a/CN=b -> O=a,CN=b

# The log first, then the copy of the certificate, then the index: what is usable is always known.
commit_certificate() { # AUTHORITY ACTION SUBJECT CERTIFICATE REASON; reads serial, end
  local work=$stage/$1 home sum
  home=$(authority_dir "$1")
  sum=$(fingerprint "$4")
  log_event "$2" "$serial" "$(subject_text "$3")" "$end" "$sum" "$5"
  install_file "$work/new/${serial^^}.pem" "$home/certs/${serial^^}.pem" 0644
  install_file "$work/index.txt" "$home/index.txt" 0600
  rm -rf "$work"
}

# Signs the next CRL of the staged copy.
sign_crl() { # AUTHORITY DAYS
  local work=$stage/$1 home from to now
  home=$(authority_dir "$1")
  stage_authority "$1"
  now=$(now_s)
  from=$(stamp "$now") to=$(stamp $((now + $2 * DAY_S)))
  [[ -z ${OPT[this-update]:-} ]] || from=$(rfc3339_stamp this-update "${OPT[this-update]}")
  [[ -z ${OPT[next-update]:-} ]] || to=$(rfc3339_stamp next-update "${OPT[next-update]}")
  [[ $from < $to ]] || die $EXIT_USAGE 'the CRL would end before it starts' 'give both --this-update and --next-update'
  (cd "$work" && run_openssl ca -config ca.cnf -gencrl -crl_lastupdate "${from}Z" -crl_nextupdate "${to}Z" \
    -cert "$home/ca.pem" -keyfile "$home/ca.key" -out crl.pem)
}

# The number first (a skipped one is harmless, a repeated one is not), then index and CRL.
commit_crl() { # AUTHORITY
  local work=$stage/$1 home
  home=$(authority_dir "$1")
  install_file "$work/crlnumber" "$home/crlnumber" 0600
  install_file "$work/index.txt" "$home/index.txt" 0600
  install_file "$work/crl.pem" "$home/crl.pem" 0644
  rm -rf "$work"
}

# Rebuilds the published files crl/*.pem; readers see the old file or the new one, never a part.
publish_crls() {
  local name
  if [[ -f $dir/authority/root/crl.pem ]]; then
    cp "$dir/authority/root/crl.pem" "$stage/root.crl"
    install_file "$stage/root.crl" "$dir/crl/root.pem" 0644
  fi
  for name in servers clients; do
    cat "$dir/crl/root.pem" "$dir/authority/$name/crl.pem" >"$stage/$name.crl"
    install_file "$stage/$name.crl" "$dir/crl/$name.pem" 0644
  done
}

crl_number_of() { local text; text=$(openssl crl -in "$1" -noout -crlnumber); text=${text#*=}; printf '%d' "$((16#${text#0x}))"; }

# --- The index ---------------------------------------------------------------------------------

# Prints the rows of an index as status|end|revoked|reason|serial|subject; status is valid, expired or
# revoked. With CONTAINS only rows with that text, which keeps look-ups fast in an index of many thousands.
index_rows() { # AUTHORITY [CONTAINS]
  local file lines line status end revoked serial subject reason now
  file=$(authority_dir "$1")/index.txt
  [[ -f $file ]] || return 0
  now=$(stamp "$(now_s)")
  mapfile -t lines <"$file"
  for line in "${lines[@]}"; do
    [[ $line == *"${2:-}"* ]] || continue
    # status, end, revoked[,reason], serial, file, subject; a here-string a row would be far slower.
    status=${line%%$'\t'*} line=${line#*$'\t'}
    end=${line%%$'\t'*} line=${line#*$'\t'}
    revoked=${line%%$'\t'*} line=${line#*$'\t'}
    serial=${line%%$'\t'*} subject=${line##*$'\t'}
    reason=${revoked#*,} revoked=${revoked%%,*}
    [[ $reason != "$revoked" ]] || reason=unspecified
    index_stamp "$end"
    end=$REPLY
    if [[ $status == R ]]; then
      index_stamp "$revoked"
      status=revoked revoked=$REPLY
    elif [[ $end < $now ]]; then status=expired reason=''
    else status=valid reason=''; fi
    printf '%s|%s|%s|%s|%s|%s\n' "$status" "$end" "$revoked" "$reason" "$serial" "$subject"
  done
}

# The functions called once a row answer in REPLY: a subshell each would cost minutes in a large index.

# UTCTime has two digits of the year, below 50 means 20xx (RFC 5280, 4.1.2.5.1).
index_stamp() {
  REPLY=${1%Z}
  if ((${#REPLY} == 14)); then return
  elif ((10#${REPLY:0:2} < 50)); then REPLY=20$REPLY
  else REPLY=19$REPLY; fi
}

identity_of() { # AUTHORITY SUBJECT -> REPLY: FIRM/USER, or the name of a server or CA
  if [[ $1 == clients && $2 =~ ^/O=([^/]+)/OU=([^/]+)/CN=([^/]+)$ ]]; then REPLY=${BASH_REMATCH[1]}/${BASH_REMATCH[3]}
  else REPLY=${2##*/CN=}; fi
}

role_of() { [[ $1 =~ /OU=([^/]+)/ ]] && printf '%s' "${BASH_REMATCH[1]}" || printf -- '-'; }

# Sets row_* to the index row of the certificate in FILE.
row_of_certificate() { # AUTHORITY FILE
  local text
  text=$(openssl x509 -in "$2" -noout -serial)
  row_of_serial "$1" "${text#*=}" || die $EXIT_FAILED "the index of the $1 CA does not know $2" "run $(self) verify"
}

row_of_serial() { # AUTHORITY SERIAL
  while IFS='|' read -r row_status row_end row_revoked row_reason row_serial row_subject; do
    [[ $row_serial != "${2^^}" ]] || return 0
  done < <(index_rows "$1" $'\t'"${2^^}"$'\t')
  return 1
}

# Marks serials in the staged index. removeFromCRL turns a hold back into a valid certificate.
mark_revoked() { # AUTHORITY REASON SERIALS...
  local work=$stage/$1 reason=$2 lines line rest end one i mark
  shift 2
  mark=$(printf '%(%y%m%d%H%M%S)TZ' -1)
  [[ $reason == unspecified ]] || mark+=,${reason/cACompromise/CACompromise}
  mapfile -t lines <"$work/index.txt"
  for one in "$@"; do
    for i in "${!lines[@]}"; do
      line=${lines[i]}
      [[ $line == *$'\t'"$one"$'\t'* ]] || continue
      rest=${line#*$'\t'} end=${rest%%$'\t'*} rest=$one${line##*$'\t'"$one"}
      if [[ $reason == removeFromCRL ]]; then lines[i]=V$'\t'$end$'\t\t'$rest
      else lines[i]=R$'\t'$end$'\t'$mark$'\t'$rest; fi
    done
  done
  printf '%s\n' "${lines[@]}" >"$work/index.txt"
}

# --- Order keys --------------------------------------------------------------------------------

write_bytes() { # HEX
  local i text=''
  for ((i = 0; i < ${#1}; i += 2)); do text+="\\x${1:i:2}"; done
  printf '%b' "$text"
}

sha256_hex() { # HEX -> HEX
  local text
  text=$(write_bytes "$1" | openssl dgst -sha256 -r)
  printf '%s' "${text%% *}"
}

# RFC 2104, for keys of up to one block (64 bytes): H(key ^ opad || H(key ^ ipad || message)).
hmac_sha256() { # KEY_HEX MESSAGE_HEX -> HEX
  local i byte inner='' outer='' text
  for ((i = 0; i < 128; i += 2)); do
    byte=${1:i:2} byte=$((16#${byte:-00}))
    printf -v text '%02x' $((byte ^ 0x36))
    inner+=$text
    printf -v text '%02x' $((byte ^ 0x5c))
    outer+=$text
  done
  text=$(sha256_hex "$inner$2")
  sha256_hex "$outer$text"
}

# HKDF-SHA256 (RFC 5869), empty salt (which is a block of zeros), one block of output.
order_key_hex() { # MASTER_FILE CERTIFICATE -> HEX
  local master info='' i text extracted
  master=$(<"$1")
  [[ $master =~ ^[0-9a-f]{64}$ ]] ||
    die $EXIT_FAILED "$1 is not one line of 64 lower-case hex digits" 'restore it from the backup'
  for ((i = 0; i < ${#ORDER_KEY_INFO}; i++)); do
    printf -v text '%02x' "'${ORDER_KEY_INFO:i:1}"
    info+=$text
  done
  info+=$(fingerprint "$2")
  extracted=$(hmac_sha256 '' "$master")
  hmac_sha256 "$extracted" "${info}01"
}

write_order_key() { # MASTER_FILE CERTIFICATE OUT
  local key
  key=$(order_key_hex "$1" "$2")
  printf '%s\n' "$key" >"$3"
  chmod 0600 "$3"
}

write_master() { # OUT
  local hex
  hex=$(openssl rand -hex 32)
  [[ $hex =~ ^[0-9a-f]{64}$ ]] || die $EXIT_FAILED 'openssl rand gave no 32 bytes'
  printf '%s\n' "$hex" >"$1"
}

# --- Commands: init ----------------------------------------------------------------------------

make_authority() { # NAME SUBJECT DAYS; the root signs itself and the others
  local home now sign=() subject="/O=$org/CN=$2"
  home=$(authority_dir "$1")
  mkdir -p "$home/certs"
  : >"$home/index.txt"
  printf '01\n' >"$home/crlnumber"
  generate_key p256 "$home/ca.key"
  make_request "$home/ca.key" "$stage/ca.csr"
  now=$(now_s)
  start=$(stamp $((now - BACKDATE_S))) end=$(stamp $((now + $3 * DAY_S)))
  [[ $1 != root ]] || sign=(-selfsign)
  sign_certificate root "$stage/ca.csr" "$subject" "$1" '' "$stage/ca.pem" "${sign[@]}"
  cp "$stage/ca.pem" "$home/ca.pem"
  chmod 0644 "$home/ca.pem"
  commit_certificate root issue-ca "$subject" "$home/ca.pem" ''
}

cmd_init() {
  local final=$dir word name parent
  parse_options 'org= demo' "$@"
  expect_arguments 0 'no arguments'
  org=${OPT[org]:-sealfeed} demo=${OPT[demo]:-no}
  [[ $org =~ ^[A-Za-z0-9][A-Za-z0-9\ ._-]{0,39}$ ]] || die $EXIT_USAGE "--org '$org' is not accepted" '1 to 40 letters, digits, blanks, . _ -'
  if [[ -f $dir/pki.conf ]]; then
    read_settings
    note "$dir holds a PKI of $org already; nothing was changed"
    until_ "$(pretty "$(certificate_end "$dir/ca/root.pem")") (root CA)"
    next "$(self) list"
    return
  fi
  if [[ -e $dir ]] && ! rmdir "$dir" 2>/dev/null; then
    die $EXIT_REFUSED "$dir exists, is not an empty directory and holds no PKI" 'choose another --dir (below a mount point, not the mount point itself)'
  fi
  # Everything is built next to the target, which then appears with one rename.
  parent=${dir%/*}
  mkdir -p "$parent"
  open_stage "$parent"
  dir=$made_stage/pki stage=$made_stage/work
  mkdir "$dir" "$stage" "$dir"/{authority,ca,crl,servers,clients,master}
  : >"$dir/issuance.log"
  authority_id=$(openssl rand -hex 3)
  word=$org
  [[ $demo == no ]] || word="$org DEMO"
  make_authority root "$word root CA $authority_id" $ROOT_DAYS
  make_authority servers "$word server CA $authority_id" $ISSUING_DAYS
  make_authority clients "$word client CA $authority_id" $ISSUING_DAYS
  cp "$dir/authority/root/ca.pem" "$dir/ca/root.pem"
  for name in servers clients; do
    cat "$dir/authority/root/ca.pem" "$dir/authority/$name/ca.pem" >"$dir/ca/$name.pem"
    sign_crl "$name" $CRL_DAYS
    commit_crl "$name"
  done
  sign_crl root $ROOT_CRL_DAYS
  commit_crl root
  publish_crls
  chmod 0644 "$dir"/ca/*.pem
  write_master "$dir/master/current.hex"
  printf 'format=1\norg=%s\ndemo=%s\nid=%s\n' "$org" "$demo" "$authority_id" >"$dir/pki.conf"
  mv -T "$dir" "$final" || die $EXIT_REFUSED "cannot put the PKI at $final" 'did somebody else just make one?'
  dir=$final
  made "$dir: root CA, server CA, client CA ($word ... $authority_id), their CRLs, master secret"
  until_ "$(pretty "$(certificate_end "$dir/ca/root.pem")") (root), $(pretty "$(certificate_end "$dir/authority/clients/ca.pem")") (issuing CAs), $(pretty "$(crl_end "$dir/authority/clients/crl.pem")") (CRLs; renew daily with: $(self) crl)"
  note "authority/root is needed only for new CAs and the root's CRL: move it offline"
  next "$(self) server feed --san DNS:localhost,IP:127.0.0.1"
}

# --- Commands: server, client, renew -----------------------------------------------------------

# The list goes into a configuration file of openssl: the pattern covers all of it, line ends too.
check_san() {
  local item='(DNS:(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]{0,252}|IP:[0-9A-Fa-f.:]{2,45})'
  [[ $1 =~ ^$item(,$item){0,99}$ ]] ||
    die $EXIT_USAGE "--san '$1' is not a list of names" 'DNS:host or IP:address, separated by commas, for example DNS:localhost,IP:127.0.0.1'
}

issue_server() { # NAME SAN ACTION; the directory servers/NAME appears complete
  local subject="/O=$org/CN=$1"
  mkdir "$stage/made"
  generate_key p256 "$stage/made/server.key"
  make_request "$stage/made/server.key" "$stage/leaf.csr"
  sign_certificate servers "$stage/leaf.csr" "$subject" server "$2" "$stage/leaf.pem"
  cat "$stage/leaf.pem" "$dir/authority/servers/ca.pem" >"$stage/made/server.pem"
  printf '%s\n' "$2" >"$stage/made/san"
  chmod 0644 "$stage/made/server.pem" "$stage/made/san"
  commit_certificate servers "$3" "$subject" "$stage/leaf.pem" ''
  install_directory "$stage/made" "$dir/servers/$1"
  made "$dir/servers/$1/server.pem and server.key ($2), serial $serial"
  until_ "$(pretty "$end")"
}

cmd_server() {
  local name home
  parse_options 'san= days= not-before= not-after=' "$@"
  expect_arguments 1 'one server name'
  name=${ARGS[0]}
  check_name server "$name"
  check_san "${OPT[san]:-}"
  open_for_writing
  home=$dir/servers/$name
  if [[ -d $home ]]; then
    row_of_certificate servers "$home/server.pem"
    [[ $row_status == valid && $(<"$home/san") == "${OPT[san]}" ]] ||
      die $EXIT_REFUSED "server $name exists: $row_status, $(<"$home/san")" "$(self) renew $name [--san LIST]"
    note "server $name exists already; nothing was changed"
    until_ "$(pretty "$row_end")"
    next "$(self) renew $name"
    return
  fi
  validity $SERVER_DAYS
  issue_server "$name" "${OPT[san]}" issue
  next "$(self) client acme/alice --role trader"
}

write_context() { # URL OUT
  printf 'url = "%s"\nca = "ca.pem"\ncertificate = "client.pem"\nkey = "client.key"\norder_key = "order.key"\n' "$1" >"$2"
}

context_url() { # CONTEXT_FILE
  local line
  while IFS= read -r line; do
    [[ $line =~ ^url\ =\ \"(.*)\"$ ]] && { printf '%s' "${BASH_REMATCH[1]}"; return; }
  done <"$1"
  printf '%s' "$DEFAULT_URL"
}

# Checks the proof of possession in the request and copies it into the stage.
take_request() { # CSR_FILE OUT
  local size
  [[ -f $1 ]] || die $EXIT_ABSENT "there is no file $1"
  size=$(stat -c %s "$1")
  ((size <= CSR_BYTES_MAX)) || die $EXIT_REFUSED "$1 is no signing request: over $CSR_BYTES_MAX bytes"
  cp "$1" "$2"
  openssl req -in "$2" -noout -pubkey >"$stage/public.pem" 2>/dev/null ||
    die $EXIT_REFUSED "$1 is not a PEM signing request" 'openssl req -new -key client.key -subj /CN=any -out client.csr'
  check_public_key "$stage/public.pem"
  # openssl 3.0 says "verify failure" and yet may exit 0, so the words count, not the exit code.
  [[ $(openssl req -in "$2" -noout -verify 2>&1 || true) == *'verify OK'* ]] ||
    die $EXIT_REFUSED "the signature of $1 is wrong" 'the request must be signed by the key it carries'
}

# Makes clients/FIRM/USER. Reads firm, user, start, end, OPT[csr]; the key never leaves the stage half done.
issue_client() { # ROLE KEY_TYPE URL ACTION
  local home=$dir/clients/$firm/$user subject="/O=$firm/OU=$1/CN=$user"
  mkdir "$stage/made"
  if [[ -n ${OPT[csr]:-} ]]; then
    take_request "${OPT[csr]}" "$stage/leaf.csr"
  else
    generate_key "$2" "$stage/made/client.key"
    make_request "$stage/made/client.key" "$stage/leaf.csr"
  fi
  if [[ -n ${OPT[csr]:-} && -f $home/client.pem && $(public_key_of "$home/client.pem") == "$(<"$stage/public.pem")" ]]; then
    die $EXIT_REFUSED 'the request carries the key of the present certificate' 'renewal means a new key: make one'
  fi
  sign_certificate clients "$stage/leaf.csr" "$subject" client "URI:sealfeed://$firm/$user" "$stage/leaf.pem"
  cat "$stage/leaf.pem" "$dir/authority/clients/ca.pem" >"$stage/made/client.pem"
  cp "$dir/ca/servers.pem" "$stage/made/ca.pem"
  write_order_key "$dir/master/current.hex" "$stage/leaf.pem" "$stage/made/order.key"
  write_context "$3" "$stage/made/context.toml"
  chmod 0644 "$stage/made"/{client.pem,ca.pem,context.toml}
  commit_certificate clients "$4" "$subject" "$stage/leaf.pem" ''
  install_directory "$stage/made" "$home"
  made "$home: $firm/$user, role $1, serial $serial"
  [[ -z ${OPT[csr]:-} ]] || note 'the private key stays with the client, who puts it beside the other files as client.key'
  until_ "$(pretty "$end")"
}

cmd_client() {
  local home url
  parse_options 'role= days= key-type= csr= server= not-before= not-after=' "$@"
  expect_arguments 1 'one FIRM/USER'
  split_identity "${ARGS[0]}"
  check_role "${OPT[role]:-}"
  url=${OPT[server]:-$DEFAULT_URL}
  check_url "$url"
  open_for_writing
  home=$dir/clients/$firm/$user
  if [[ -d $home ]]; then
    row_of_certificate clients "$home/client.pem"
    [[ $row_status == valid && $(role_of "$row_subject") == "${OPT[role]}" ]] ||
      die $EXIT_REFUSED "$firm/$user exists: $row_status, role $(role_of "$row_subject")" "$(self) renew $firm/$user [--role R]"
    note "$firm/$user exists already; nothing was changed"
    until_ "$(pretty "$row_end")"
    next "$(self) renew $firm/$user"
    return
  fi
  validity "$(role_days "${OPT[role]}")"
  issue_client "${OPT[role]}" "${OPT[key-type]:-p256}" "$url" issue
  next "$(self) bundle $firm/$user"
}

# The serials of an identity that a revocation must reach: valid ones, and held ones.
live_serials() { # AUTHORITY IDENTITY [EXCEPT_SERIAL]
  local status end reason serial subject now
  now=$(stamp "$(now_s)")
  while IFS='|' read -r status end _ reason serial subject; do
    identity_of "$1" "$subject"
    [[ $REPLY == "$2" && $serial != "${3:-}" && $end > $now ]] || continue
    [[ $status == valid || $reason == certificateHold ]] && printf '%s ' "$serial"
  done < <(index_rows "$1" "/CN=${2##*/}")
}

# Logs, marks, signs and publishes in this order; prints what was done.
revoke_serials() { # AUTHORITY REASON SERIALS...
  local authority=$1 reason=$2 days number action=revoke one file
  shift 2
  days=${OPT[days]:-$CRL_DAYS}
  [[ $authority != root ]] || days=${OPT[days]:-$ROOT_CRL_DAYS}
  [[ $reason != removeFromCRL ]] || action=release
  stage_authority "$authority"
  number=$((16#$(<"$stage/$authority/crlnumber")))
  mark_revoked "$authority" "$reason" "$@"
  sign_crl "$authority" "$days"
  for one in "$@"; do
    row_of_serial "$authority" "$one" || die $EXIT_FAILED "serial $one is not in the index"
    file=$(authority_dir "$authority")/certs/$one.pem
    log_event "$action" "$one" "$(subject_text "$row_subject")" "$row_end" "$(fingerprint "$file")" "$reason" "$number"
    identity_of "$authority" "$row_subject"
    made "${action}d $REPLY, serial ${one,,}, $reason"
  done
  commit_crl "$authority"
  publish_crls
  made "$dir/crl/$([[ $authority == root ]] && printf '*' || printf '%s' "$authority").pem, CRL number $number"
  until_ "$(pretty "$(crl_end "$(authority_dir "$authority")/crl.pem")") (this CRL)"
}

# A revoked identity must not come back by a routine renewal.
check_renewable() { # AUTHORITY CERTIFICATE
  row_of_certificate "$1" "$2"
  [[ $row_status != revoked || -n ${OPT[reinstate]:-} ]] ||
    die $EXIT_REFUSED "the present certificate is revoked ($row_reason)" 'if the identity shall live again: --reinstate'
}

cmd_renew() {
  local authority home name role
  parse_options 'days= key-type= csr= server= san= role= revoke-old reinstate not-before= not-after=' "$@"
  expect_arguments 1 'one FIRM/USER or server name'
  name=${ARGS[0]}
  open_for_writing
  if [[ $name == */* ]]; then
    split_identity "$name"
    authority=clients home=$dir/clients/$firm/$user
    [[ -f $home/client.pem ]] || die $EXIT_ABSENT "there is no client $name" "$(self) client $name --role R"
    [[ -z ${OPT[san]:-} ]] || die $EXIT_USAGE '--san is for servers'
    check_renewable clients "$home/client.pem"
    role=${OPT[role]:-$(role_of "$row_subject")}
    check_role "$role"
    [[ -f $home/client.key || -n ${OPT[csr]:-} ]] ||
      die $EXIT_REFUSED "the key of $name was made by the client" 'ask for a new request and pass it with --csr FILE'
    [[ -z ${OPT[server]:-} ]] || check_url "${OPT[server]}"
    validity "$(role_days "$role")"
    issue_client "$role" "${OPT[key-type]:-$(key_type_of "$home/client.pem")}" "${OPT[server]:-$(context_url "$home/context.toml")}" renew
  else
    check_name server "$name"
    authority=servers home=$dir/servers/$name
    [[ -f $home/server.pem ]] || die $EXIT_ABSENT "there is no server $name" "$(self) server $name --san LIST"
    [[ -z ${OPT[csr]:-}${OPT[role]:-}${OPT[server]:-}${OPT[key-type]:-} ]] || die $EXIT_USAGE '--csr, --role, --server and --key-type are for clients'
    check_renewable servers "$home/server.pem"
    check_san "${OPT[san]:-$(<"$home/san")}"
    validity $SERVER_DAYS
    issue_server "$name" "${OPT[san]:-$(<"$home/san")}" renew
  fi
  unset 'OPT[days]'
  finish_renewal "$authority" "$name" "${serial^^}"
}

finish_renewal() { # AUTHORITY NAME NEW_SERIAL
  local old
  read -ra old <<<"$(live_serials "$1" "$2" "$3")" || true
  if ((${#old[@]} > 0)); then
    if [[ -n ${OPT[revoke-old]:-} ]]; then revoke_serials "$1" superseded "${old[@]}"
    else note "${#old[@]} older certificate(s) stay valid until they end; to end them now: $(self) revoke SERIAL --reason superseded"; fi
  fi
  if [[ $1 == clients ]]; then next "$(self) bundle $2"
  else next 'reload or restart the server, which reads the new files'; fi
}

# --- Commands: revoke, crl ---------------------------------------------------------------------

# Finds what the operator named: authority, identity ('' for a serial), serials.
resolve_target() { # FIRM/USER|NAME|SERIAL -> target_authority, target_serials
  local name
  target_authority='' target_serials=()
  if [[ $1 =~ ^[0-9A-Fa-f]{16,40}$ ]]; then
    for name in clients servers root; do
      if row_of_serial "$name" "$1"; then target_authority=$name target_serials=("${1^^}"); return; fi
    done
  fi
  if [[ $1 == */* ]]; then
    split_identity "$1"
    target_authority=clients
  else
    check_name server "$1"
    target_authority=servers
  fi
  read -ra target_serials <<<"$(live_serials "$target_authority" "$1")" || true
}

cmd_revoke() {
  local reason one chosen=()
  parse_options 'reason= days=' "$@"
  expect_arguments 1 'one FIRM/USER, server name or serial'
  reason=${OPT[reason]:-}
  [[ $reason =~ ^(unspecified|keyCompromise|cACompromise|affiliationChanged|superseded|cessationOfOperation|certificateHold|removeFromCRL)$ ]] ||
    die $EXIT_USAGE "--reason '$reason' is not accepted" "see pki.sh revoke --help"
  [[ -z ${OPT[days]:-} ]] || check_days days "${OPT[days]}"
  open_for_writing
  resolve_target "${ARGS[0]}"
  for one in "${target_serials[@]}"; do
    row_of_serial "$target_authority" "$one" || continue
    if [[ $reason == removeFromCRL ]]; then [[ $row_reason == certificateHold ]] && chosen+=("$one")
    elif [[ $row_status != revoked ]]; then chosen+=("$one")
    elif [[ $row_reason == certificateHold && $reason != certificateHold ]]; then chosen+=("$one"); fi
  done
  if ((${#chosen[@]} == 0)); then
    known_target "${ARGS[0]}" || die $EXIT_ABSENT "there is no certificate of ${ARGS[0]}" "$(self) list"
    note "${ARGS[0]} has no certificate to which --reason $reason applies; nothing was changed"
    until_ "$(pretty "$(crl_end "$dir/authority/clients/crl.pem")") (the present CRL)"
    next "$(self) list"
    return
  fi
  revoke_serials "$target_authority" "$reason" "${chosen[@]}"
  next "the server must load the CRL: copy crl/*.pem to it if it does not read $dir itself"
}

known_target() {
  local subject
  ((${#target_serials[@]} == 0)) || return 0
  while IFS='|' read -r _ _ _ _ _ subject; do
    identity_of "$target_authority" "$subject"
    [[ $REPLY != "$1" ]] || return 0
  done < <(index_rows "$target_authority" "/CN=${1##*/}" 2>/dev/null) # stopped early, it may complain
  return 1
}

cmd_crl() {
  local name days
  parse_options 'days= root-days= this-update= next-update=' "$@"
  expect_arguments 0 'no arguments'
  check_days days "${OPT[days]:-$CRL_DAYS}"
  check_days root-days "${OPT[root-days]:-$ROOT_CRL_DAYS}"
  open_for_writing
  for name in root servers clients; do
    days=${OPT[days]:-$CRL_DAYS}
    [[ $name != root ]] || days=${OPT[root-days]:-$ROOT_CRL_DAYS}
    if [[ $name == root && ! -f $dir/authority/root/ca.key ]]; then
      note "authority/root is offline: its CRL stays, until $(pretty "$(crl_end "$dir/crl/root.pem")")"
      continue
    fi
    sign_crl "$name" "$days"
    commit_crl "$name"
    made "CRL of the $name CA, number $(crl_number_of "$(authority_dir "$name")/crl.pem")"
    until_ "$(pretty "$(crl_end "$(authority_dir "$name")/crl.pem")")"
  done
  publish_crls
  made "$dir/crl/root.pem, servers.pem, clients.pem"
  next "run it daily, for example from cron: 0 6 * * * $(self) crl"
}

# --- Commands: list, show, expiring ------------------------------------------------------------

cmd_list() {
  local authority kind status end reason serial subject role count=0
  parse_options '' "$@"
  expect_arguments 0 'no arguments'
  read_settings
  printf '%-32s  %-28s  %-20s  %-7s  %-7s  %s\n' SERIAL STATUS END KIND ROLE IDENTITY
  for authority in root servers clients; do
    kind=${authority%s}
    while IFS='|' read -r status end _ reason serial subject; do
      identity_of "$authority" "$subject"
      role=-
      [[ $authority != clients ]] || role=${subject##*/OU=} role=${role%%/*}
      printf '%-32s  %-28s  %-20s  %-7s  %-7s  %s\n' "${serial,,}" "$status${reason:+ ($reason)}" \
        "${end:0:4}-${end:4:2}-${end:6:2}T${end:8:2}:${end:10:2}:${end:12:2}Z" "${kind/root/ca}" "$role" "$REPLY"
      count=$((count + 1))
    done < <(index_rows "$authority")
  done
  note "$count certificates"
  next "$(self) show FIRM/USER, or $(self) expiring"
}

master_of() { # CLIENT_DIR -> current, previous or none
  local key
  key=$(<"$1/order.key")
  if [[ $key == "$(order_key_hex "$dir/master/current.hex" "$1/client.pem")" ]]; then printf current
  elif [[ -f $dir/master/previous.hex && $key == "$(order_key_hex "$dir/master/previous.hex" "$1/client.pem")" ]]; then printf previous
  else printf none; fi
}

cmd_show() {
  local file home=''
  parse_options '' "$@"
  expect_arguments 1 'one FIRM/USER, server name or serial'
  read_settings
  resolve_target "${ARGS[0]}"
  file=$(authority_dir "$target_authority")/certs/${target_serials[0]:-none}.pem
  if [[ ${ARGS[0]} == */* ]]; then home=$dir/clients/${ARGS[0]} file=$home/client.pem
  elif [[ -d $dir/servers/${ARGS[0]} ]]; then home=$dir/servers/${ARGS[0]} file=$home/server.pem; fi
  [[ -f $file ]] || die $EXIT_ABSENT "there is no certificate of ${ARGS[0]}" "$(self) list"
  row_of_certificate "$target_authority" "$file"
  printf 'subject:  %s\nserial:   %s\nstatus:   %s\n' "$(subject_text "$row_subject")" "${row_serial,,}" "$row_status${row_reason:+ ($row_reason, $(pretty "$row_revoked"))}"
  printf 'start:    %s\nend:      %s\n' "$(pretty "$(openssl_stamp "$(openssl x509 -in "$file" -noout -startdate)")")" "$(pretty "$row_end")"
  printf 'sha256:   %s\n' "$(fingerprint "$file")"
  openssl x509 -in "$file" -noout -ext subjectAltName,extendedKeyUsage,keyUsage,basicConstraints 2>/dev/null || true
  printf 'file:     %s\n' "$file"
  if [[ $target_authority == clients && -n $home ]]; then
    printf 'key:      %s\n' "$([[ -f $home/client.key ]] && printf 'held here' || printf 'held by the client (signing request)')"
    printf 'order key derived from: the %s master\n' "$(master_of "$home")"
  fi
  until_ "$(pretty "$row_end")"
  case $target_authority in
    clients) next "$(self) bundle FIRM/USER, renew or revoke" ;;
    *) next "$(self) renew ${ARGS[0]}" ;;
  esac
}

cmd_expiring() {
  local within now soon past authority status end subject name found=0
  local -A last=() ends=()
  parse_options 'within=' "$@"
  expect_arguments 0 'no arguments'
  within=${OPT[within]:-$EXPIRING_DAYS}
  [[ $within =~ ^[0-9]{1,4}$ ]] || die $EXIT_USAGE "--within '$within' is not a number of days"
  read_settings
  now=$(now_s)
  soon=$(stamp $((now + 10#$within * DAY_S))) past=$(stamp $((now - 10#$within * DAY_S)))
  for authority in servers clients; do
    # The last row of an identity is its present certificate; the earlier ones were renewed.
    while IFS='|' read -r status end _ _ _ subject; do
      identity_of "$authority" "$subject"
      name="${authority%s} $REPLY"
      last[$name]=$status ends[$name]=$end
    done < <(index_rows "$authority")
    ends["$authority CA"]=$(certificate_end "$dir/authority/$authority/ca.pem")
    ends["CRL of the $authority CA"]=$(crl_end "$dir/authority/$authority/crl.pem")
  done
  ends["root CA"]=$(certificate_end "$dir/ca/root.pem")
  ends["CRL of the root CA"]=$(crl_end "$dir/crl/root.pem")
  while IFS= read -r name; do
    end=${ends[$name]}
    [[ ${last[$name]:-valid} != revoked && ! $end > $soon && ( ! $end < $past || $name == *CA ) ]] || continue
    printf '%s  %s\n' "$(pretty "$end")" "$name"
    found=$((found + 1))
  done < <(printf '%s\n' "${!ends[@]}" | sort)
  if ((found > 0)); then
    until_ "the dates above: $found end within $within days or did lately"
    next "$(self) renew FIRM/USER, $(self) renew SERVER-NAME, $(self) crl"
    return $EXIT_FOUND
  fi
  until_ "nothing ends before $(pretty "$soon")"
  next "$(self) list"
}

# --- Commands: bundle, rotate-master -----------------------------------------------------------

cmd_bundle() {
  local home out files
  parse_options 'output= server= p12=' "$@"
  expect_arguments 1 'one FIRM/USER'
  split_identity "${ARGS[0]}"
  out=${OPT[output]:-./$firm-$user.tar}
  open_for_writing
  home=$dir/clients/$firm/$user
  [[ -f $home/client.pem ]] || die $EXIT_ABSENT "there is no client $firm/$user" "$(self) client $firm/$user --role R"
  row_of_certificate clients "$home/client.pem"
  [[ $row_status == valid ]] || die $EXIT_REFUSED "the certificate of $firm/$user is $row_status" "$(self) renew $firm/$user"
  mkdir "$stage/made"
  cp "$dir/ca/servers.pem" "$stage/made/ca.pem"
  cp "$home/client.pem" "$home/context.toml" "$stage/made/"
  if [[ -n ${OPT[server]:-} ]]; then
    check_url "${OPT[server]}"
    write_context "${OPT[server]}" "$stage/made/context.toml"
  fi
  # Always the current master's key, whatever an interrupted rotation left in the directory.
  write_order_key "$dir/master/current.hex" "$home/client.pem" "$stage/made/order.key"
  cp "$stage/made/order.key" "$stage/order.key"
  install_file "$stage/order.key" "$home/order.key" 0600
  files=(ca.pem client.pem order.key context.toml)
  if [[ -f $home/client.key ]]; then cp "$home/client.key" "$stage/made/" && files+=(client.key); fi
  chmod 0644 "$stage/made"/{ca.pem,client.pem,context.toml}
  if [[ -n ${OPT[p12]:-} ]]; then
    make_p12 "$home" "${OPT[p12]}" "$stage/made/client.p12"
    files+=(client.p12)
  fi
  tar -C "$stage/made" --owner=0 --group=0 --numeric-owner -cf "$stage/bundle.tar" "${files[@]}" || die $EXIT_FAILED 'tar failed'
  partial_file=$out.$$.tmp
  cp "$stage/bundle.tar" "$partial_file" || die $EXIT_FAILED "cannot write $out"
  install_file "$partial_file" "$out" 0600
  log_event bundle "$row_serial" "$(subject_text "$row_subject")" "$row_end" "$(fingerprint "$home/client.pem")" ''
  made "$out: ${files[*]} (secret: hand it over on a safe way, then delete it)"
  [[ -f $home/client.key ]] || note 'client.key is missing by intent: the client made it and adds it'
  until_ "$(pretty "$row_end")"
  next "mkdir -m 700 $user && tar -xf $out -C $user && sealfeed watch SYMBOL --context $user/context.toml"
}

make_p12() { # CLIENT_DIR PASSFILE OUT
  local pass
  [[ -f $1/client.key ]] || die $EXIT_REFUSED 'a PKCS#12 file needs the private key, which the client keeps' 'the client can make it: openssl pkcs12 -export'
  [[ -f $2 ]] || die $EXIT_ABSENT "there is no file $2"
  IFS= read -r pass <"$2" || [[ -n ${pass:-} ]] || die $EXIT_REFUSED "$2 is empty" 'its first line is the password'
  ((${#pass} >= 8)) || die $EXIT_REFUSED "the password in $2 is too short" 'at least 8 characters'
  run_openssl pkcs12 -export -inkey "$1/client.key" -in "$1/client.pem" -certfile "$dir/ca/root.pem" \
    -name "sealfeed $firm/$user" -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 -iter 100000 \
    -passout "file:$2" -out "$3"
  chmod 0600 "$3"
}

cmd_rotate_master() {
  local home count=0
  parse_options 'drop-previous' "$@"
  expect_arguments 0 'no arguments'
  open_for_writing
  if [[ -n ${OPT[drop-previous]:-} ]]; then
    [[ -f $dir/master/previous.hex ]] || { note 'there is no previous master; nothing was changed'; next "$(self) verify"; return; }
    log_event drop-previous-master '' '' '' '' ''
    rm "$dir/master/previous.hex"
    made "$dir/master: previous.hex is gone; order keys derived from it stop working when the server reloads"
    until_ 'the next rotate-master'
    next 'reload or restart the server'
    return
  fi
  log_event rotate-master '' '' '' '' ''
  write_master "$stage/master.new"
  cp "$dir/master/current.hex" "$stage/master.old"
  # Killed between the two renames, both files hold the old master: all keys work, run it again.
  install_file "$stage/master.old" "$dir/master/previous.hex" 0600
  install_file "$stage/master.new" "$dir/master/current.hex" 0600
  for home in "$dir"/clients/*/*/; do
    home=${home%/}
    [[ -f $home/client.pem ]] || continue
    row_of_certificate clients "$home/client.pem"
    [[ $row_status == valid ]] || continue
    write_order_key "$dir/master/current.hex" "$home/client.pem" "$stage/order.key"
    install_file "$stage/order.key" "$home/order.key" 0600
    count=$((count + 1))
  done
  made "$dir/master/current.hex (new) and previous.hex; $count order keys derived again"
  note 'clients keep working with their old order key until the next rotation; each needs a new bundle by then'
  note 'keys derived from the master before the previous one stopped working with this rotation'
  until_ 'the next rotate-master'
  next "reload or restart the server, then $(self) bundle FIRM/USER for every client"
}

cmd_order_key() {
  parse_options 'master=' "$@"
  expect_arguments 1 'one certificate file'
  [[ -n ${OPT[master]:-} ]] || read_settings
  local file master=${OPT[master]:-$dir/master/current.hex} key
  for file in "${ARGS[0]}" "$master"; do
    [[ -f $file ]] || die $EXIT_ABSENT "there is no file $file"
  done
  openssl x509 -in "${ARGS[0]}" -noout 2>/dev/null || die $EXIT_REFUSED "${ARGS[0]} is not a PEM certificate"
  key=$(order_key_hex "$master" "${ARGS[0]}")
  printf '%s\n' "$key"
}

# --- Commands: verify --------------------------------------------------------------------------

problems=0
problem() { printf 'WRONG: %s\n' "$1"; problems=$((problems + 1)); }

same_key() { # CERTIFICATE KEY
  [[ $(public_key_of "$1") == "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]]
}

verify_authorities() {
  local name home now
  now=$(stamp "$(now_s)")
  openssl verify -CAfile "$dir/ca/root.pem" "$dir/ca/root.pem" >/dev/null 2>&1 || problem 'the root CA does not verify'
  for name in root servers clients; do
    home=$(authority_dir "$name")
    [[ $name == root && ! -d $home ]] && { note 'authority/root is offline: not checked'; continue; }
    same_key "$home/ca.pem" "$home/ca.key" || problem "$home/ca.key is missing or does not fit ca.pem"
    [[ $name == root ]] || openssl verify -crl_check -CRLfile "$dir/crl/root.pem" -CAfile "$dir/ca/root.pem" "$home/ca.pem" >/dev/null 2>&1 ||
      problem "the $name CA does not verify against root and crl/root.pem"
    openssl crl -in "$home/crl.pem" -CAfile "$home/ca.pem" -noout 2>&1 | { read -r line; [[ $line == 'verify OK' ]]; } || problem "$home/crl.pem is not signed by the $name CA"
    [[ $(crl_end "$home/crl.pem") > $now ]] || problem "the CRL of the $name CA is too old: $(self) crl"
    ((16#$(<"$home/crlnumber") > $(crl_number_of "$home/crl.pem"))) || problem "$home/crlnumber is behind the published CRL"
  done
}

verify_leaf() { # AUTHORITY CERTIFICATE KEY PURPOSE
  row_of_certificate "$1" "$2"
  [[ ! -f $3 ]] || same_key "$2" "$3" || problem "$3 does not fit its certificate"
  [[ $row_status == valid ]] || { note "$2 is $row_status"; return 0; }
  # Without the dates: a certificate made for a later cut-over is no fault, and the index knows expiry.
  openssl verify -no_check_time -purpose "$4" -crl_check_all -CRLfile "$dir/crl/$1.pem" -CAfile "$dir/ca/root.pem" -untrusted "$2" "$2" >/dev/null 2>&1 ||
    problem "$2 does not verify against ca/ and crl/"
}

# Every serial in an index has its line in the issuance log, and secrets are for their owner alone.
verify_records() {
  local name serial log file mode
  log=$(<"$dir/issuance.log")
  for name in root servers clients; do
    while IFS='|' read -r _ _ _ _ serial _; do
      [[ $log == *"\"serial\":\"${serial,,}\""* ]] || problem "serial ${serial,,} of the $name CA is not in issuance.log"
    done < <(index_rows "$name")
  done
  for file in "$dir" "$dir"/master/*.hex "$dir"/authority/*/ca.key "$dir"/clients/*/*/{client,order}.key "$dir"/servers/*/server.key; do
    [[ -e $file ]] || continue
    mode=$(stat -c %a "$file")
    [[ $mode == *00 ]] || problem "$file is open to others (mode $mode): chmod go= '$file'"
  done
}

cmd_verify() {
  local home count=0
  parse_options '' "$@"
  expect_arguments 0 'no arguments'
  open_for_writing
  verify_authorities
  for home in "$dir"/servers/*/; do
    [[ -f $home/server.pem ]] || continue
    verify_leaf servers "${home}server.pem" "${home}server.key" sslserver
    count=$((count + 1))
  done
  for home in "$dir"/clients/*/*/; do
    [[ -f $home/client.pem ]] || continue
    verify_leaf clients "${home}client.pem" "${home}client.key" sslclient
    count=$((count + 1))
    [[ $row_status == valid && $(master_of "${home%/}") == none ]] && problem "${home}order.key comes from no live master: bundle again"
  done
  verify_records
  if ((problems > 0)); then
    until_ "$problems problem(s) found"
    next 'repair what is named above, or restore the backup'
    return $EXIT_FOUND
  fi
  made "no changes: 3 CAs, their CRLs, $count identities, order keys, permissions and log are in order"
  until_ "$(pretty "$(crl_end "$dir/authority/clients/crl.pem")") (the clients' CRL)"
  next "$(self) expiring"
}

# --- Main --------------------------------------------------------------------------------------

command=''
main() {
  local arguments=() help=no
  while (($#)); do
    case $1 in
      --dir) (($# > 1)) || die $EXIT_USAGE '--dir needs a value'; dir=$2; shift 2 ;;
      --dir=*) dir=${1#*=}; shift ;;
      -h | --help) help=yes; shift ;;
      *) if [[ -z $command && $1 != -* ]]; then command=$1; else arguments+=("$1"); fi; shift ;;
    esac
  done
  [[ $command != help ]] || { help=yes command=${arguments[0]:-}; }
  if [[ $help == yes ]]; then help_command "$command"; return; fi
  case $dir in
    '') die $EXIT_USAGE '--dir is empty' ;;
    /*) ;;
    *) dir=$PWD/${dir#./} ;;
  esac
  dir=${dir%/}
  [[ $(openssl version 2>/dev/null || true) == 'OpenSSL 3.'* ]] || die $EXIT_FAILED 'openssl 3 is needed' 'install it, or put it first in PATH'
  case $command in
    init | server | client | renew | revoke | crl | list | show | expiring | bundle | verify) "cmd_$command" "${arguments[@]}" ;;
    rotate-master) cmd_rotate_master "${arguments[@]}" ;;
    order-key) cmd_order_key "${arguments[@]}" ;;
    '') help_overview >&2; exit $EXIT_USAGE ;;
    *) die $EXIT_USAGE "unknown command '$command'" 'pki.sh --help' ;;
  esac
}

main "$@"
