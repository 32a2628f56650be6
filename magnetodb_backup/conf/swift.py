# SPDX-License-Identifier: Apache-2.0
"""Options of the Swift storage driver: its own, and those of keystoneauth1."""

from __future__ import annotations

from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "swift"
OPTS = [
    cfg.StrOpt(
        "region_name",
        sample_default="RegionOne",
        help="Region of the object store. Required if the service catalogue has several.",
    ),
    cfg.StrOpt(
        "interface",
        default="public",
        choices=["public", "internal", "admin"],
        help="Endpoint of the service catalogue to use.",
    ),
    cfg.URIOpt(
        "storage_url",
        schemes=["http", "https"],
        sample_default="https://swift.example.org/v1/AUTH_account",
        help="URL of the account, instead of the endpoint in the service catalogue.",
    ),
    cfg.FloatOpt(
        "connect_timeout",
        default=10.0,
        min=0.1,
        max=600,
        help="Maximum time to connect in seconds.",
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=60.0,
        min=0.1,
        max=3600,
        help="Time in seconds without any data after which a request fails.",
    ),
    cfg.BoolOpt(
        "versions",
        default=False,
        help="Let the containers of the service keep every version of their objects, also deleted "
        "ones, by Swift's object versioning. It is enabled in existing containers at their next "
        "backup. Swift's proxies need allow_object_versioning = true in the section "
        "[filter:versioned_writes]. A deletion then frees no space until old versions are removed.",
    ),
]
# The plugins that appear in the sample configuration; any installed one may be used.
_SAMPLE_PLUGINS = ("password", "v3applicationcredential", "v1password")


def register(conf: cfg.ConfigOpts) -> None:
    """Register the driver's own options and keystoneauth1's for sessions and plugins."""
    conf.register_opts(OPTS, group=GROUP)
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    conf.set_default("auth_type", "password", group=GROUP)


def registered_opts() -> list[Any]:
    """Return the options that ``register()`` registers; imports no authentication plugin."""
    session, common = loading.get_session_conf_options(), loading.get_auth_common_conf_options()
    return [*OPTS, *session, *common]


def list_opts() -> list[Any]:
    """Return every option of the group for the sample configuration, each name once."""
    found: dict[str, Any] = {}
    listed = registered_opts()
    for plugin in _SAMPLE_PLUGINS:
        listed += loading.get_auth_plugin_conf_options(plugin)
    for option in listed:
        found.setdefault(option.dest, option)
    return list(found.values())
