# SPDX-License-Identifier: Apache-2.0
"""Options of node control by Jolokia."""

from oslo_config import cfg

GROUP = "jolokia"
OPTS = [
    cfg.URIOpt(
        "url",
        default="http://127.0.0.1:8778/jolokia",
        schemes=["http", "https"],
        help="URL of the agent in the node's JVM.",
    ),
    cfg.StrOpt("username", help="User, where the agent wants one."),
    cfg.StrOpt("password", secret=True, help="Password of the user."),
    cfg.StrOpt("ca_file", help="CA certificates for https."),
    cfg.FloatOpt("timeout", default=600.0, min=1, help="Seconds that one request may take."),
    cfg.FloatOpt(
        "repair_timeout",
        default=86_400.0,
        min=1,
        help="Seconds that the repair of one keyspace, or building the secondary indexes of one "
        "table, may take after a restore.",
    ),
]
