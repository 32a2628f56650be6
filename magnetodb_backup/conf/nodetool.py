# SPDX-License-Identifier: Apache-2.0
"""Options of node control by nodetool."""

from oslo_config import cfg

GROUP = "nodetool"
OPTS = [
    cfg.ListOpt(
        "command", default=["nodetool"], help="nodetool as an argument list, separated by commas."
    ),
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address of JMX."),
    cfg.PortOpt("port", default=7199, help="Port of JMX."),
    cfg.StrOpt("username", help="JMX user, where authentication is on."),
    cfg.StrOpt(
        "password_file",
        help="File with a line 'user password'; must be readable by the worker's user only.",
    ),
    cfg.FloatOpt("timeout", default=600.0, min=1, help="Seconds that one nodetool run may take."),
    cfg.FloatOpt(
        "repair_timeout",
        default=86_400.0,
        min=1,
        help="Seconds that the repair of one keyspace, or building the secondary indexes of one "
        "table, may take after a restore.",
    ),
]
