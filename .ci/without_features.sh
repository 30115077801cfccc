#!/usr/bin/env bash
# The compiler for a default build out of dependencies that were built for all features (RUSTC_WORKSPACE_WRAPPER, set by test.sh).
#
# A build that asks for fewer features would choose other ones of what we depend on, too, and compile half of that again. Our own
# crates see here what they see in a default build; that their dependencies can do more changes nothing for them.
set -euo pipefail
arguments=()
while [[ $# -gt 0 ]]; do
  if [[ $1 == --cfg && ${2:-} =~ ^feature=\"(parquet|store)\"$ ]]; then
    shift 2
  else
    arguments+=("$1")
    shift
  fi
done
exec "${arguments[@]}" ${SEALFEED_LINTS:+"$SEALFEED_LINTS"}
