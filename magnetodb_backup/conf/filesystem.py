# SPDX-License-Identifier: Apache-2.0
"""Options of the filesystem storage driver."""

from oslo_config import cfg

GROUP = "filesystem"
OPTS = [
    cfg.StrOpt(
        "path",
        default="/var/lib/magnetodb-backup/store",
        help="Existing directory that contains the containers. All workers and conductors must use "
        "the same directory, for example on a shared file system. It must be empty at first use.",
    ),
]
