# SPDX-License-Identifier: Apache-2.0
"""Options of the object store, common to all drivers."""

from oslo_config import cfg

GROUP = "storage"
OPTS = [
    cfg.StrOpt(
        "driver",
        default="swift",
        help="Storage plugin: swift, filesystem, or another installed one. The section of the same "
        "name has its options.",
    ),
    cfg.StrOpt(
        "prefix",
        default="magnetodb-backup",
        regex=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        help="Beginning of the names of all containers: letters, digits, hyphen and underscore.",
    ),
    cfg.FloatOpt(
        "retry_deadline",
        default=300.0,
        min=0,
        max=86400,
        help="Time in seconds during which a request is repeated while the object store does not "
        "answer or is overloaded. 0 means one attempt.",
    ),
    cfg.IntOpt(
        "bytes_per_second",
        default=0,
        min=0,
        mutable=True,
        help="Maximum number of bytes per second that this process sends to and fetches from the "
        "object store, for all threads together. 0 means no limit. Read again on SIGHUP.",
    ),
]
