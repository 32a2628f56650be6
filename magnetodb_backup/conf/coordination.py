# SPDX-License-Identifier: Apache-2.0
"""Options of the leases by which conductors share the jobs."""

from oslo_config import cfg

GROUP = "coordination"
OPTS = [
    cfg.StrOpt(
        "backend_url",
        secret=True,
        sample_default="file:///var/lib/magnetodb-backup/leases",
        help="tooz back end of the leases. The default, files below state_dir, suffices for "
        "conductors on one host. Conductors on several hosts need a shared one, for example "
        "etcd3+http://host:2379, mysql://user:password@host/db or a directory on a shared file "
        "system that knows locks.",
    ),
]
