#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# counted.sh KIND COMMAND...: notes a start for tests/lab/measuring.py, then becomes the command.
kind=$1
shift
if [ -n "$MAGNETODB_BACKUP_STARTS" ]; then echo "$kind" >>"$MAGNETODB_BACKUP_STARTS"; fi
exec "$@"
