# SPDX-License-Identifier: Apache-2.0
"""All options of the project, for registration and for the sample configuration."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from oslo_config import cfg

from magnetodb_backup.conf import (
    api,
    cassandra,
    conductor,
    coordination,
    database,
    filesystem,
    jolokia,
    nodetool,
    scratch,
    service,
    sstableloader,
    storage,
    swift,
    worker,
)

_GROUPS: tuple[ModuleType, ...] = (
    service,
    api,
    cassandra,
    conductor,
    database,
    filesystem,
    jolokia,
    nodetool,
    scratch,
    sstableloader,
    storage,
    worker,
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option of the project with ``conf``."""
    for module in _GROUPS:
        if module.GROUP == "DEFAULT":
            conf.register_opts(module.OPTS)
        else:
            conf.register_opts(module.OPTS, group=module.GROUP)
    conf.register_opts(coordination.OPTS, group=coordination.GROUP)
    swift.register(conf)


def registered_opts() -> Iterable[tuple[str, list[Any]]]:
    """Return group and options of all that ``register()`` registers."""
    return [*((m.GROUP, list(m.OPTS)) for m in _GROUPS), (swift.GROUP, swift.registered_opts())]


def list_opts() -> Iterable[tuple[str, list[Any]]]:
    """Return group and options, as oslo-config-generator wants them."""
    listed: list[tuple[str, list[Any]]] = [(m.GROUP, list(m.OPTS)) for m in _GROUPS]
    listed.append((swift.GROUP, swift.list_opts()))
    return listed
