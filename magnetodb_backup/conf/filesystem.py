# SPDX-License-Identifier: Apache-2.0
"""Options of the filesystem storage driver."""

from oslo_config import cfg

GROUP = "filesystem"
OPTS = [
    cfg.StrOpt(
        "path",
        default="/var/lib/magnetodb-backup/store",
        help="Existing directory that holds the containers. All workers and conductors must see "
        "the same one, for example a mounted shared file system; it must be empty at first use.",
    ),
]
