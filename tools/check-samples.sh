#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compares etc/ with what the code generates; "check-samples.sh write" writes it.
set -euo pipefail
cd "$(dirname "$0")/.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
oslo-config-generator --namespace magnetodb_backup --output-file "$made/magnetodb-backup.conf.sample"
oslopolicy-sample-generator --namespace magnetodb_backup --output-file "$made/policy.yaml.sample"
if [ "${1:-}" = write ]; then
  cp "$made"/* etc/
  exit
fi
diff -u etc/magnetodb-backup.conf.sample "$made/magnetodb-backup.conf.sample"
diff -u etc/policy.yaml.sample "$made/policy.yaml.sample"
