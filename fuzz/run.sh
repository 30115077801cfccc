#!/usr/bin/env bash
# Fuzzes what sealfeed decodes, on stable Rust: one target, or all of them one after the other.
#
#   fuzz/run.sh [TARGET...] [--seconds N | --runs N] [--jobs N] [--keep FOLDER]
#
#   --seconds N    over all targets together, shared equally; 60 by default
#   --runs N       executions of each target instead
#   --jobs N       targets at a time; 1 by default
#   --keep FOLDER  goes on from the inputs found by earlier runs, and leaves its own there
#
# A line for each target: executions, how many a second, code reached by the corpus and beyond it, crashes. What crashed lies in
# target/fuzz/crashes/TARGET with the output in target/fuzz/TARGET.log; `fuzz/run.sh TARGET --runs 0` runs the corpus alone.
# To try one input again: SEALFEED_FUZZ_TARGET=TARGET target/fuzz/build/sealfeed-fuzz FILE.
# Exit: 0 nothing was found, 1 something was, 2 it could not run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

readonly TIMEOUT_S=10           # for one input: no decoder takes a second
readonly MEMORY_MB=1024         # for the process: decoders are bounded
readonly INPUT_BYTES_MAX=8192
# Of our own crates: 1 is five times as fast as 0, and takes a minute longer to build.
readonly OPT_LEVEL=${SEALFEED_FUZZ_OPT_LEVEL:-1}

usage() {
  sed -n '4,9p' "$0" | sed 's/^# \?//' >&2
  exit 2
}

seconds=60 runs='' jobs=1 keep='' targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds | --runs | --jobs) [[ ${2:-} =~ ^[0-9]+$ ]] || usage ;;&
    --seconds) seconds=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --jobs) jobs=$2 && shift ;;
    --keep) keep=${2:?} && shift ;;
    -*) usage ;;
    *) targets+=("$1") ;;
  esac
  shift
done
if [[ ${#targets[@]} -eq 0 ]]; then
  for folder in fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
fi
for target in "${targets[@]}"; do
  [[ -d fuzz/corpus/$target ]] || { printf 'run.sh: there is no target %s; see fuzz/corpus\n' "$target" >&2 && exit 2; }
done

# Optimised, with the checks of a debug build: overflow and debug assertions panic. Packages and features are those of test.sh, so
# that everything below ours is built already.
build() {
  RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/coverage.sh" CARGO_PROFILE_DEV_OPT_LEVEL=$OPT_LEVEL CARGO_PROFILE_DEV_DEBUG=0 \
    CARGO_INCREMENTAL=0 cargo build --locked --quiet --workspace --bin sealfeed-fuzz \
    --features sealfeed-fuzz/libfuzzer,sealfeed/store,sealfeed/parquet
}

out=${CARGO_TARGET_DIR:-target}
build || exit 2
mkdir -p "$out/fuzz/build" && cp "$out/debug/sealfeed-fuzz" "$out/fuzz/build/" || exit 2
readonly program=$out/fuzz/build/sealfeed-fuzz

fuzz_one() { # TARGET
  local target=$1 found=${keep:+$keep/$1} limit
  found=${found:-$out/fuzz/found/$1}
  [[ -n $keep ]] || rm -rf "$found"
  rm -rf "$out/fuzz/crashes/$target"
  mkdir -p "$found" "$out/fuzz/crashes/$target"
  if [[ -n $runs ]]; then
    limit=-runs=$runs
  else
    # At least a second each.
    limit=-max_total_time=$(((seconds * jobs + ${#targets[@]} - 1) / ${#targets[@]}))
  fi
  SEALFEED_FUZZ_TARGET=$target "$program" "$limit" -max_len=$INPUT_BYTES_MAX -timeout=$TIMEOUT_S \
    -rss_limit_mb=$MEMORY_MB -print_final_stats=1 -artifact_prefix="$out/fuzz/crashes/$target/" \
    "$found" "fuzz/corpus/$target" >"$out/fuzz/$target.log" 2>&1 </dev/null
  local code=$?
  report "$target" $code
  return $code
}

report() { # TARGET CODE
  local log=$out/fuzz/$1.log first last crashes
  # Lines of libFuzzer: `#12 INITED cov: 345 ft: ...`, `stat::number_of_executed_units: 678`.
  first=$(sed -nE 's/^#[0-9]+[[:space:]]+INITED cov: ([0-9]+).*/\1/p' "$log" | head -n 1)
  last=$(sed -nE 's/^#[0-9]+[[:space:]]+[A-Za-z]+[[:space:]]+cov: ([0-9]+).*/\1/p' "$log" | tail -n 1)
  crashes=$(find "$out/fuzz/crashes/$1" -type f | wc -l)
  [[ $crashes -gt 0 || $2 -eq 0 ]] || crashes="did not run: $log"
  printf '%-16s %12s %10s %9s %8s  %s\n' "$1" "$(stat_of number_of_executed_units "$log")" \
    "$(stat_of average_exec_per_sec "$log")" "${first:--}" "+$((${last:-0} - ${first:-0}))" "$crashes"
}

stat_of() { # NAME LOG
  local value
  value=$(sed -nE "s/^stat::$1:[[:space:]]+([0-9]+)/\\1/p" "$2" | tail -n 1)
  printf '%s' "${value:--}"
}

printf '%-16s %12s %10s %9s %8s  %s\n' target executions 'a second' reached new crashes
failed=0 running=0
for target in "${targets[@]}"; do
  if [[ $running -ge $jobs ]]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  fuzz_one "$target" &
  running=$((running + 1))
done
while [[ $running -gt 0 ]]; do
  wait -n || failed=1
  running=$((running - 1))
done
if [[ $failed -ne 0 ]]; then
  for target in "${targets[@]}"; do
    [[ -z $(ls "$out/fuzz/crashes/$target" 2>/dev/null) ]] || grep -A4 -E 'panicked at|ERROR: libFuzzer' "$out/fuzz/$target.log"
  done
  exit 1
fi
