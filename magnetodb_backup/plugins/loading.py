# SPDX-License-Identifier: Apache-2.0
"""Finds scopes, storage drivers and node controls by their stevedore entry points."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from oslo_config import cfg
from stevedore import ExtensionManager, NamedExtensionManager
from stevedore.exception import NoMatches

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.scopes.driver import Scope
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)
SCOPES = "magnetodb_backup.scopes"
STORAGE = "magnetodb_backup.storage"
NODE_CONTROL = "magnetodb_backup.node_control"


def _load(namespace: str, name: str, what: str) -> Any:
    broken: dict[str, str] = {}

    def on_failure(manager: object, point: Any, error: BaseException) -> None:
        broken[point.name] = f"{type(error).__name__}: {error}"
        LOG.warning("the plugin %s of %s cannot be loaded: %s", point.name, namespace, error)

    # Only the named plugin is imported: the filesystem driver does without swiftclient.
    named: NamedExtensionManager[Any] = NamedExtensionManager(
        namespace,
        [name],
        on_load_failure_callback=on_failure,
        on_missing_entrypoints_callback=lambda missing: None,  # reported below
    )
    if named.names():
        return named[name].plugin
    manager: ExtensionManager[Any] = ExtensionManager(
        namespace, invoke_on_load=False, on_load_failure_callback=on_failure
    )
    try:
        return manager[name].plugin
    except (KeyError, NoMatches):
        if name in broken:
            raise InvalidValue(f"{what} {name!r} cannot be loaded: {broken[name]}") from None
        known = ", ".join(sorted(manager.names())) or "none"
        raise InvalidValue(f"{name!r} is not a {what}; installed: {known}") from None


def load_scope(scope: Mapping[str, Any]) -> Scope:
    """Make the scope of a request from its ``{"type": name, …parameters}``.

    :raises InvalidValue: for an unknown type or wrong parameters.
    """
    parameters = dict(scope)
    name = parameters.pop("type", None)
    if not isinstance(name, str):
        raise InvalidValue("a scope needs a type, for example all, keyspaces or tables")
    return cast(Scope, _load(SCOPES, name, "scope type")(parameters))


def load_storage(conf: cfg.ConfigOpts) -> StorageDriver:
    """Make the storage driver that ``[storage] driver`` names, undecorated."""
    return cast(StorageDriver, _storage(conf)(conf))


def check_plugins(conf: cfg.ConfigOpts) -> None:
    """Raise InvalidValue, naming the option, if a configured plugin is not installed."""
    _storage(conf)
    _node_control(conf)


def check_installed(conf: cfg.ConfigOpts) -> None:
    """Raise as ``check_plugins()`` does, without the import of plugins that are installed.

    The command line reads the configuration in every command and uses a plugin in few.
    """
    if not entry_points(group=STORAGE, name=conf.storage.driver):
        _storage(conf)
    if not entry_points(group=NODE_CONTROL, name=conf.cassandra.node_control):
        _node_control(conf)


def _storage(conf: cfg.ConfigOpts) -> Any:
    return _load(STORAGE, conf.storage.driver, "storage driver ([storage] driver)")


def _node_control(conf: cfg.ConfigOpts) -> Any:
    name = conf.cassandra.node_control
    return _load(NODE_CONTROL, name, "node control ([cassandra] node_control)")


def load_node_control(conf: cfg.ConfigOpts) -> NodeControl:
    """Make the node control that ``[cassandra] node_control`` names."""
    return cast(NodeControl, _node_control(conf)(conf))
