#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Shows backup and restore on a real Cassandra and a real Swift: quickstart.sh [--keep|--stop]
set -euo pipefail
cd "$(dirname "$0")/.."
export VENV=${VENV:-$PWD/.venv-quickstart}
tools/bootstrap.sh quickstart
exec "$VENV/bin/python" -m tools.quickstart "$@"
