# SPDX-License-Identifier: Apache-2.0
"""Options of the connection between a worker and its Cassandra node."""

from oslo_config import cfg

GROUP = "cassandra"
OPTS = [
    cfg.StrOpt(
        "node_control",
        default="nodetool",
        help="Plugin that sends commands to Cassandra: nodetool, jolokia, or another entry point "
        "of magnetodb_backup.node_control.",
    ),
    cfg.HostAddressOpt("address", default="127.0.0.1", help="Address of the node for CQL."),
    cfg.PortOpt("native_port", default=9042, help="Port of the node for CQL."),
    cfg.StrOpt("username", help="CQL role, if Cassandra requires authentication."),
    cfg.StrOpt("password", secret=True, help="Password of the CQL role."),
    cfg.StrOpt(
        "ca_file",
        help="File with CA certificates for CQL. TLS is used when this or cert_file is set.",
    ),
    cfg.StrOpt(
        "cert_file",
        help="File with the client certificate for CQL, if Cassandra requires one "
        "(require_client_auth).",
    ),
    cfg.StrOpt(
        "key_file", help="File with the unencrypted key of cert_file, if it is not in that file."
    ),
    cfg.ListOpt(
        "data_directories",
        default=[],
        help="All data directories of the node. If empty, the worker reads them from Cassandra; "
        "otherwise they must be the directories that Cassandra uses.",
    ),
    cfg.StrOpt(
        "host_id",
        help="Host ID of the node of this worker. If unset, the worker keeps the host ID that the "
        "node reports at first.",
    ),
    cfg.ListOpt(
        "stop_command",
        default=[],
        help="Command that stops Cassandra for an offline restore: an argument list separated by "
        "commas, run without a shell, for example sudo,-n,systemctl,stop,cassandra. It must "
        "end after Cassandra has ended, and nothing may start Cassandra during the restore. If "
        "empty, offline restores are refused.",
    ),
    cfg.ListOpt(
        "start_command",
        default=[],
        help="Command that starts Cassandra after an offline restore, in the same form, for "
        "example sudo,-n,systemctl,start,cassandra. It must end by itself. If empty, offline "
        "restores are refused.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=600.0,
        min=1,
        help="Maximum time in seconds until stop_command has ended and no port is open any more.",
    ),
    cfg.FloatOpt(
        "start_timeout",
        default=1800.0,
        min=1,
        help="Maximum time in seconds until start_command has ended and Cassandra answers.",
    ),
]
