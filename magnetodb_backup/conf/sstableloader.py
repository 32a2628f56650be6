# SPDX-License-Identifier: Apache-2.0
"""Options of sstableloader, which streams rows to a ring with other tokens."""

from oslo_config import cfg

GROUP = "sstableloader"
OPTS = [
    cfg.ListOpt(
        "command",
        default=["sstableloader"],
        help="Command of sstableloader: an argument list separated by commas, with further options "
        "if needed, for example "
        "sstableloader,-f,/etc/cassandra/cassandra.yaml,--throttle-mib,50. sstableloader accepts "
        "passwords only as arguments, which all users of the machine can read. If the cluster "
        "requires passwords, set a script that adds them.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=86_400.0,
        min=1,
        help="Maximum time of one run in seconds; one run sends up to 100 SSTables of a table.",
    ),
    cfg.IntOpt(
        "connections_per_host",
        min=1,
        help="Number of connections to each node. If unset, the default of sstableloader.",
    ),
]
