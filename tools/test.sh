#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs everything that CI runs; arguments go to tox.
set -euo pipefail
cd "$(dirname "$0")/.."
export VENV=${VENV:-$PWD/.venv-test}
tools/bootstrap.sh test
printf '==> running tox\n' >&2
exec "$VENV/bin/tox" "$@"
