# SPDX-License-Identifier: Apache-2.0
"""Options of all processes."""

from oslo_config import cfg

GROUP = "DEFAULT"
OPTS = [
    cfg.StrOpt(
        "state_dir",
        default="/var/lib/magnetodb-backup",
        help="Directory for data that a process keeps between starts: the identity of a worker and "
        "its index of stored files, and the SQLite database if one is used.",
    ),
]
