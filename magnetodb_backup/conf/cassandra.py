# SPDX-License-Identifier: Apache-2.0
"""Options of the worker's way to its Cassandra node."""

from oslo_config import cfg

GROUP = "cassandra"
OPTS = [
    cfg.StrOpt(
        "node_control",
        default="nodetool",
        help="Plugin that tells Cassandra to flush and to snapshot: nodetool, jolokia, or another "
        "entry point of magnetodb_backup.node_control.",
    ),
    cfg.HostAddressOpt("address", default="127.0.0.1", help="Address of the node for CQL."),
    cfg.PortOpt("native_port", default=9042, help="Port of the node for CQL."),
    cfg.StrOpt("username", help="CQL role, where authentication is on."),
    cfg.StrOpt("password", secret=True, help="Password of the CQL role."),
    cfg.StrOpt("ca_file", help="CA certificates for CQL over TLS; TLS is used when this is set."),
    cfg.ListOpt(
        "data_directories",
        default=[],
        help="All data directories of the node. Empty: ask Cassandra. Otherwise they must be "
        "those that Cassandra uses.",
    ),
    cfg.StrOpt(
        "host_id",
        help="Host ID of the node that this worker belongs to. Unset: the node that answers first.",
    ),
    cfg.ListOpt(
        "stop_command",
        default=[],
        help="What stops Cassandra for an offline restore, as an argument list separated by "
        "commas, without a shell: sudo,-n,systemctl,stop,cassandra. It has to end when Cassandra "
        "has ended, and nothing may start it again meanwhile. Empty: no offline restore.",
    ),
    cfg.ListOpt(
        "start_command",
        default=[],
        help="What starts Cassandra after that, in the same form: "
        "sudo,-n,systemctl,start,cassandra. It has to end by itself. Empty: no offline restore.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=600.0,
        min=1,
        help="Seconds within which stop_command must have ended and nothing listen any more.",
    ),
    cfg.FloatOpt(
        "start_timeout",
        default=1800.0,
        min=1,
        help="Seconds within which start_command must have ended and Cassandra answer again.",
    ),
]
