#!/usr/bin/env bash
# The compiler for what is fuzzed (RUSTC_WORKSPACE_WRAPPER, set by run.sh): counts which code was reached, for libFuzzer.
#
# Only our own crates are compiled through this, so everything below them is the build that the tests have already.
set -euo pipefail
readonly PASSES=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
)
exec "$@" "${PASSES[@]}"
