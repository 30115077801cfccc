#!/usr/bin/env bash
# Makes the Python environment under target/python in which tests read our DBN with its public decoder.
# Does nothing if it is there already. Needs python3 with venv, and the package index the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly venv=${CARGO_TARGET_DIR:-target}/python requirements=tests/python/requirements.txt
if ! cmp -s "$requirements" "$venv/installed.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/installed.txt"
fi
