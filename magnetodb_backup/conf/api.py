# SPDX-License-Identifier: Apache-2.0
"""Options of the REST API."""

from oslo_config import cfg

GROUP = "api"
OPTS = [
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address to listen on."),
    cfg.PortOpt("port", default=9511, help="Port to listen on."),
    cfg.IntOpt("threads", default=8, min=1, max=256, help="Number of threads that serve requests."),
    cfg.StrOpt(
        "auth_strategy",
        default="noauth",
        choices=[("noauth", "every caller is an administrator: bind to loopback")],
        help="How callers are authenticated.",
    ),
    cfg.BoolOpt(
        "noauth_remote",
        default=False,
        help="Allow auth_strategy = noauth with a host other than a loopback address: every caller "
        "that reaches it is an administrator.",
    ),
    cfg.ListOpt(
        "host_names",
        default=[],
        help="Host names under which clients reach the API, for example that of a proxy. Requests "
        "to other names are refused, except to addresses, localhost and the machine's own name: "
        "web pages could otherwise use the API through a browser.",
    ),
    cfg.IntOpt(
        "max_limit", default=1000, min=1, help="Maximum number of records on one page of a list."
    ),
]
