# SPDX-License-Identifier: Apache-2.0
"""Makes the Swift driver the way that a process does: from configuration."""

from __future__ import annotations

from collections.abc import Mapping

from keystoneauth1 import loading
from oslo_config import cfg

from magnetodb_backup.conf import swift as options
from magnetodb_backup.storage.swift import SwiftDriver, from_conf


def swift_driver(values: Mapping[str, object]) -> SwiftDriver:
    """Return the driver for ``[swift]`` with these ``values``; ``auth_type`` is needed."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    options.register(conf)
    plugin = loading.get_auth_plugin_conf_options(str(values["auth_type"]))
    conf.register_opts(plugin, group=options.GROUP)
    for name, value in values.items():
        conf.set_override(name, value, options.GROUP)
    return from_conf(conf)
