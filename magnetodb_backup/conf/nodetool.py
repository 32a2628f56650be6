# SPDX-License-Identifier: Apache-2.0
"""Options of node control by nodetool."""

from oslo_config import cfg

GROUP = "nodetool"
OPTS = [
    cfg.ListOpt(
        "command",
        default=["nodetool"],
        help="Command of nodetool: an argument list separated by commas.",
    ),
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address of JMX."),
    cfg.PortOpt("port", default=7199, help="Port of JMX."),
    cfg.StrOpt("username", help="JMX user, if JMX requires authentication."),
    cfg.StrOpt(
        "password_file",
        help="File with the line 'user password', readable only by the user of the worker.",
    ),
    cfg.FloatOpt(
        "timeout", default=600.0, min=1, help="Maximum time of one run of nodetool in seconds."
    ),
    cfg.FloatOpt(
        "repair_timeout",
        default=86_400.0,
        min=1,
        help="Maximum time in seconds for what takes long in Cassandra during a restore: the "
        "import of SSTables into one table, the repair of one keyspace, and building the "
        "secondary indexes of one table.",
    ),
]
