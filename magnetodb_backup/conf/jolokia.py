# SPDX-License-Identifier: Apache-2.0
"""Options of node control by Jolokia."""

from oslo_config import cfg

GROUP = "jolokia"
OPTS = [
    cfg.URIOpt(
        "url",
        default="http://127.0.0.1:8778/jolokia",
        schemes=["http", "https"],
        help="URL of the Jolokia agent in the JVM of the node.",
    ),
    cfg.StrOpt("username", help="User, if the agent requires one."),
    cfg.StrOpt("password", secret=True, help="Password of the user."),
    cfg.StrOpt("ca_file", help="File with CA certificates for https."),
    cfg.StrOpt("cert_file", help="File with the client certificate, if the agent requires one."),
    cfg.StrOpt(
        "key_file", help="File with the unencrypted key of cert_file, if it is not in that file."
    ),
    cfg.FloatOpt("timeout", default=600.0, min=1, help="Maximum time of one request in seconds."),
    cfg.FloatOpt(
        "repair_timeout",
        default=86_400.0,
        min=1,
        help="Maximum time in seconds for what takes long in Cassandra during a restore: the "
        "import of SSTables into one table, the repair of one keyspace, and building the "
        "secondary indexes of one table.",
    ),
]
