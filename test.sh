#!/usr/bin/env bash
# Everything that must hold before a change goes in; the same on every machine, CI included.
#
#   ./test.sh           all of it: half an hour on two cores from a fresh clone, minutes after that
#   ./test.sh --quick   format, lints and tests only
#
# One line a step. What a step prints goes to a file under target/test-logs and is shown where it failed; the
# result lines of the tests are always shown. Every step runs, whatever the ones before it did.
# Exit: 0 all passed, 1 a step failed, 2 this machine lacks something.
#
# With CI=true nothing is left out for want of a tool or of recorded data: its absence is a failure.
set -uo pipefail
cd "$(dirname "$0")" || exit 2

readonly SHOWN_LINES=80             # of a failed step's output
readonly SHOWN_AROUND=6             # after each line that names a failure
readonly OPENSSL_MAJOR_MIN=3 BASH_MAJOR_MIN=5
# What a build may have beyond the default, and one selection of packages for all steps: every other choice of features would
# compile and link the tests again.
readonly FEATURES=sealfeed/store,sealfeed/parquet
readonly BENCHES=(gate audit_append audit_index audit_prove audit_recovery audit_verify venue replay_cache identity policy door tape fanout orders)

# Colours would hide the result lines from whoever reads them by machine.
export CARGO_TERM_COLOR=never
target=${CARGO_TARGET_DIR:-target}
readonly target

logs=$target/test-logs
DBN_VENV=${CARGO_TARGET_DIR:-$PWD/target}/dbn-venv
readonly DBN_VENV DBN_VERSION=0.72.0 ZSTANDARD_VERSION=0.25.0
steps=0
failed=()

is_ci() { [[ ${CI:-} == true ]]; }

lacks() { # WHAT WHY
  printf 'test.sh: %s is missing: %s.\n' "$1" "$2" >&2
  exit 2
}

# Whether a tool that few steps need is there. Without it they are left out, but never in CI.
has() { # TOOL WHAT-FOR
  command -v "$1" >/dev/null && return 0
  ! is_ci || lacks "$1" "$2"
  printf 'left out           %s (%s is not installed)\n' "$2" "$1"
  return 1
}

step() { # NAME COMMAND...
  local name=$1 log cpu took user system code
  shift
  steps=$((steps + 1))
  log=$(printf '%s/%02d-%s.log' "$logs" "$steps" "${name//[^a-z0-9]/-}")
  # Beside the time that passed, that of the processors: the one that a busy machine does not change.
  cpu=$({ TIMEFORMAT='%0R %0U %0S' && time "$@" >"$log" 2>&1 </dev/null; } 2>&1)
  code=$?
  read -r took user system <<<"$cpu"
  if [[ $code -eq 0 ]]; then
    printf 'ok      %5d s    %s (processors: %d s)\n' "$took" "$name" $((user + system))
  else
    failed+=("$name")
    printf 'FAILED  %5d s    %s (processors: %d s): the last lines of %s:\n' "$took" "$name" $((user + system)) "$log"
    tail -n "$SHOWN_LINES" "$log" | sed 's/^/    | /'
    # With --no-fail-fast what failed may stand far above the last lines.
    grep -nE -A "$SHOWN_AROUND" '^(test .* FAILED|thread .* panicked at|error(\[|:))' "$log" |
      head -n "$SHOWN_LINES" | sed 's/^/    > /' || true
  fi
  # CI counts these.
  grep -E '^(     Running |   Doc-tests |test result:)' "$log" || true
}

# --- What must be there ------------------------------------------------------------------------

check_tools() {
  local version
  command -v cargo >/dev/null || lacks cargo 'install Rust from https://rustup.rs'
  cargo fmt --version >/dev/null 2>&1 || lacks rustfmt 'rustup component add rustfmt'
  cargo clippy --version >/dev/null 2>&1 || lacks clippy 'rustup component add clippy'
  command -v cc >/dev/null || lacks 'a C compiler (cc)' 'the cryptography and zstd are C; install gcc or clang'
  command -v openssl >/dev/null || lacks openssl "the PKI script needs version $OPENSSL_MAJOR_MIN"
  version=$(openssl version)
  [[ $version =~ ^OpenSSL\ ([0-9]+)\. && ${BASH_REMATCH[1]} -ge $OPENSSL_MAJOR_MIN ]] ||
    lacks "OpenSSL $OPENSSL_MAJOR_MIN" "this is $version"
  [[ ${BASH_VERSINFO[0]} -ge $BASH_MAJOR_MIN ]] || lacks "bash $BASH_MAJOR_MIN" "this is bash $BASH_VERSION"
}

check_data() {
  [[ ! -d ${SEALFEED_DATA:-../shared/data} ]] || return 0
  ! is_ci || lacks 'recorded market data' "there is no folder ${SEALFEED_DATA:-../shared/data}"
  echo 'left out           tests on recorded market data (none in ../shared/data; SEALFEED_DATA may name a folder)'
}

# --- The steps that are more than one command --------------------------------------------------

# Everything that is compiled, the fuzzer too where it can be.
lints() {
  local features=$FEATURES
  ! command -v c++ >/dev/null || features+=,sealfeed-fuzz/libfuzzer
  cargo clippy --locked --workspace --all-targets --features "$features" -- -D warnings
}

docs() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --features "$FEATURES" --no-deps; }

shell_scripts() {
  local scripts=(.ci/run)
  while IFS= read -r script; do scripts+=("$script"); done < <(
    find . \( -name target -o -name .git \) -prune -o -name '*.sh' -type f -print | sort
  )
  printf '%s\n' "${scripts[@]}"
  shellcheck "${scripts[@]}"
}

# The documents hold by themselves: checks in another language that know only what is written.
documents() {
  python3 tests/vectors/check.py &&
    python3 audit/tests/golden/make.py | cmp - audit/tests/golden/log.txt &&
    python3 -B audit/verify.py --help && python3 -B audit/verify_bundle.py --help
}

tests() { cargo test --locked --workspace --features "$FEATURES" --no-fail-fast; }

# What a default build has of our code, and must have no use for more of it.
default_features() {
  RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/without_features.sh SEALFEED_LINTS=-Dwarnings \
    cargo check --locked --workspace --lib --bins --features "$FEATURES"
}

# Each named benchmark must exist; `*` takes in those that nobody listed. What they measure means nothing here, so they are built
# as the tests are: only that they run is seen.
benches() {
  local named=() bench
  for bench in "${BENCHES[@]}"; do named+=(--bench "$bench"); done
  SEALFEED_BENCH_SMOKE=1 cargo bench --locked --workspace --profile dev --features "$FEATURES" "${named[@]}" --bench '*'
}

examples() {
  cargo build --locked --workspace --features "$FEATURES" --examples && "$target/debug/examples/echo_server" --help
}

# Databento's own decoder, in a folder of its own beside the build: the tests of the tape's export run it.
databento() {
  python3 -m venv "$DBN_VENV" &&
    "$DBN_VENV/bin/python" -m pip install --quiet --disable-pip-version-check "databento-dbn==$DBN_VERSION" "zstandard==$ZSTANDARD_VERSION" &&
    "$DBN_VENV/bin/python" -c 'import databento_dbn, zstandard'
}

# The program as it is shipped: `cargo build --release`. In CI only what is ours is built so (optimised a little, without the checks of a debug
# build, without features), on the dependencies that the tests have; those again, optimised otherwise, would take as long as all else.
shipped() {
  mkdir -p "$target/shipped"
  if is_ci; then
    RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/without_features.sh CARGO_PROFILE_DEV_OPT_LEVEL=1 \
      CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false CARGO_PROFILE_DEV_OVERFLOW_CHECKS=false \
      cargo build --locked --workspace --bin sealfeed --features "$FEATURES" && cp "$target/debug/sealfeed" "$target/shipped/"
  else
    cargo build --locked --release && cp "$target/release/sealfeed" "$target/shipped/"
  fi
}

# The README's command, in a pipe.
demo() { "$target/shipped/sealfeed" demo | cat; }

# What the shipped program did, executed again by a debug build; and what a build without features says of one with them.
other_build() {
  local place log
  place=$(mktemp -d) || return
  log=$place/demo/log
  "$target/shipped/sealfeed" demo --keep "$place/demo" >/dev/null &&
    cargo build --locked --workspace --bin sealfeed --features "$FEATURES" &&
    "$target/debug/sealfeed" audit replay --execute "$log" &&
    says 'cargo build --release --features parquet' audit replay "$log" --parquet "$place/file"
  local code=$?
  rm -rf "$place"
  return "$code"
}

# Whether the shipped program fails, and says this.
says() { # TEXT COMMAND...
  local text=$1 said
  shift
  if said=$("$target/shipped/sealfeed" "$@" 2>&1); then
    printf 'it did not fail: %s\n' "$*"
    return 1
  fi
  printf '%s\n' "$said"
  [[ $said == *"$text"* ]]
}

# For as long as it lasts the build is better spent on being short.
fuzzing() { SEALFEED_FUZZ_OPT_LEVEL=0 fuzz/run.sh --seconds 60; }

# -----------------------------------------------------------------------------------------------

case ${1:-} in
  '' | --quick) ;;
  *)
    printf 'usage: ./test.sh [--quick]\n' >&2
    exit 2
    ;;
esac

check_tools
check_data
mkdir -p "$logs" && rm -f "$logs"/*.log || exit 2

# Before the tests, which use it. Without Python, or packages from its index, what needs it is left out, but never in CI.
if has python3 'the check of exports by databento-dbn'; then
  if is_ci; then
    step databento databento
  elif ! databento >"$logs/databento.log" 2>&1; then
    echo "left out           the check of exports by databento-dbn (see $logs/databento.log)"
  fi
  [[ ! -x $DBN_VENV/bin/python ]] || export SEALFEED_DBN_PYTHON=$DBN_VENV/bin/python
fi
step format cargo fmt --all --check
# The public decoder that our DBN is read with; without it one test leaves that part out.
if is_ci || python3 -c 'import ensurepip' 2>/dev/null; then
  step 'python packages' tests/python/venv.sh
else
  echo 'left out           reading our DBN with its public decoder (python3 with venv is not installed)'
fi
step lints lints
step tests tests
if [[ ${1:-} != --quick ]]; then
  step docs docs
  step examples examples
  step 'default features' default_features
  # It computes the order keys a second time, in Python.
  if has python3 'the test of the PKI script'; then step pki bash pki/test.sh; fi
  if has shellcheck 'the lint of the shell scripts'; then step 'shell scripts' shell_scripts; fi
  if has python3 'the check of the documents'; then step documents documents; fi
  step benches benches
  step 'shipped build' shipped
  step demo demo
  step 'other build' other_build
  if has c++ fuzzing; then step fuzzing fuzzing; fi
fi

printf -v took '%d min %02d s' $((SECONDS / 60)) $((SECONDS % 60))
if [[ ${#failed[@]} -gt 0 ]]; then
  printf -v names '%s, ' "${failed[@]}"
  printf 'FAILED: %d of %d steps in %s: %s\n' "${#failed[@]}" "$steps" "$took" "${names%, }"
  exit 1
fi
printf 'passed: %d steps in %s\n' "$steps" "$took"
