# SPDX-License-Identifier: Apache-2.0
"""Runs a command from a small process and prints its usage as JSON.

A process begins its life with its parent's memory, which counts towards its peak: hence a parent
that has little. Usage: python -S benchmarks/launch.py COMMAND [ARGUMENT ...]
"""

import json
import os
import sys

pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(
    json.dumps(
        {
            "code": os.waitstatus_to_exitcode(status),
            "cpu": usage.ru_utime + usage.ru_stime,
            "peak_memory": usage.ru_maxrss * 1024,
        }
    )
)
