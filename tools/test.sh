#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs everything that CI runs for each commit; --all adds the tests marked nightly. Other arguments
# go to tox.
set -euo pipefail
cd "$(dirname "$0")/.."
export VENV=${VENV:-$PWD/.venv-test}
tools/bootstrap.sh test
printf '==> running tox\n' >&2
if [ "${1:-}" = --all ]; then
  shift
  set -- -e all "$@"
fi
exec "$VENV/bin/tox" "$@"
