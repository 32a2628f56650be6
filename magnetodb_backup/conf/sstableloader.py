# SPDX-License-Identifier: Apache-2.0
"""Options of streaming to a ring of another shape by Cassandra's sstableloader."""

from oslo_config import cfg

GROUP = "sstableloader"
OPTS = [
    cfg.ListOpt(
        "command",
        default=["sstableloader"],
        help="sstableloader as an argument list, separated by commas, with further options if "
        "need be: sstableloader,-f,/etc/cassandra/cassandra.yaml,--throttle-mib,50. It takes "
        "passwords only as arguments, which everybody on the machine can read; where the cluster "
        "wants passwords, name a script here that adds them.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=86_400.0,
        min=1,
        help="Seconds that one run may take, which sends up to 100 SSTables of a table.",
    ),
    cfg.IntOpt(
        "connections_per_host",
        min=1,
        help="Connections to each node. Unset: as sstableloader does by itself.",
    ),
]
