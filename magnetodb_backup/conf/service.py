# SPDX-License-Identifier: Apache-2.0
"""Options of all processes."""

from oslo_config import cfg

GROUP = "DEFAULT"
OPTS = [
    cfg.StrOpt(
        "state_dir",
        default="/var/lib/magnetodb-backup",
        help="Directory for what a process keeps between starts: the worker's identity and its "
        "index of stored files, lease files, and the SQLite database where that is used.",
    ),
]
