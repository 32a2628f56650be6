# SPDX-License-Identifier: Apache-2.0
"""Options of the object store, whatever its driver."""

from oslo_config import cfg

GROUP = "storage"
OPTS = [
    cfg.StrOpt(
        "driver",
        default="swift",
        help="Storage plugin that keeps the backups: swift, filesystem, or the name of another "
        "installed one. The section of the same name has its options.",
    ),
    cfg.StrOpt(
        "prefix",
        default="magnetodb-backup",
        regex=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        help="How the names of all containers begin. Letters, digits, hyphen and underscore.",
    ),
    cfg.FloatOpt(
        "retry_deadline",
        default=300.0,
        min=0,
        max=86400,
        help="Seconds during which a request is repeated while the object store does not answer "
        "or is overloaded. 0 tries once.",
    ),
    cfg.IntOpt(
        "bytes_per_second",
        default=0,
        min=0,
        mutable=True,
        help="Most bytes per second that this process sends to and fetches from the object "
        "store, all threads together. 0 means no limit. Re-read on SIGHUP.",
    ),
]
