# SPDX-License-Identifier: Apache-2.0
"""What the settings of the target's nodes forbid: each node has its own cassandra.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from magnetodb_backup.domain.schema.cql_text import Statement, parse, split_statements
from magnetodb_backup.domain.tables import TableName

# Cassandra 4.0 has the second name only.
_VIEWS = ("materialized_views_enabled", "enable_materialized_views")
_SASI = ("sasi_indexes_enabled", "enable_sasi_indexes")
_FUNCTIONS = ("user_defined_functions_enabled", "enable_user_defined_functions")
_SCRIPTS = ("scripted_user_defined_functions_enabled", "enable_scripted_user_defined_functions")
_AUTHORIZER, _AUTHENTICATOR = "authorizer", "authenticator"
SETTINGS = (*_VIEWS, *_SASI, *_FUNCTIONS, *_SCRIPTS, _AUTHORIZER, _AUTHENTICATOR)
_SKIPPED = ("view", "index", "function", "trigger")
_WITHOUT_SCRIPTS = 5  # the major release from which functions are written in Java only
_SASI_CLASS = re.compile(r"'(org\.apache\.cassandra\.index\.sasi\.)?SASIIndex'")


@dataclass(frozen=True)
class TargetNode:
    """A node's address, version, and settings, as far as it reports them.

    ``superuser`` if the service logs in there as one.
    """

    address: str
    version: str
    settings: Mapping[str, str]
    superuser: bool = False


def setting_problems(
    nodes: Collection[TargetNode], statements: Iterable[str], present_views: Collection[TableName]
) -> list[str]:
    """Return a problem for each object that a node's settings forbid to create.

    ``present_views`` exist now: a restore drops them, and has to create them again.
    """
    problems = []
    for text in statements:
        for statement in split_statements(text):
            found: dict[str, list[str]] = {}
            for node in nodes:
                if reason := _forbidden(statement, node):
                    found.setdefault(reason, []).append(node.address)
            problems += [
                _problem(statement, reason, addresses, present_views)
                for reason, addresses in found.items()
            ]
    return problems


def _problem(
    statement: Statement, reason: str, addresses: list[str], present_views: Collection[TableName]
) -> str:
    name = TableName(statement.keyspace, statement.name)
    cannot = f"{statement.kind} {name} cannot be created"
    if statement.kind == "view" and name in present_views:
        cannot = f"view {name} would be dropped and cannot be created again"
    return f"{cannot}: {reason} on {', '.join(addresses)}; change that{skip_option(statement)}"


def skip_option(statement: Statement) -> str:
    """Return how to restore without an object, empty if it cannot be left out."""
    if statement.kind not in _SKIPPED:
        return ""
    return (
        f", or restore without it by --skip {statement.kind}={statement.keyspace}.{statement.name}"
    )


def _forbidden(statement: Statement, node: TargetNode) -> str:
    """Return why a node refuses a statement; empty if it does not, or does not say."""
    match statement.kind:
        case "view":
            return _switched_off(node, _VIEWS)
        case "index" if _has(statement, lambda text: _SASI_CLASS.fullmatch(text) is not None):
            return _switched_off(node, _SASI)
        case "function":
            return _function_forbidden(statement, node)
        case "trigger" if not node.superuser and _has_login(node):
            return "only superusers may create triggers"
    return ""


def _function_forbidden(statement: Statement, node: TargetNode) -> str:
    if off := _switched_off(node, _FUNCTIONS):
        return off
    if not _is_script(statement):
        return ""
    if major(node.version) >= _WITHOUT_SCRIPTS:
        return f"Cassandra {node.version} has functions in Java only"
    return _switched_off(node, _SCRIPTS)


def _switched_off(node: TargetNode, names: Collection[str]) -> str:
    for name in names:
        if node.settings.get(name, "").lower() == "false":
            return f"{name} is false"
    return ""


def _is_script(function: Statement) -> bool:
    tokens = [t for t in parse(function.text).tokens if t.is_significant]
    for word, language in pairwise(tokens):
        if word.is_word("LANGUAGE"):
            return language.name != "java"
    return False


def _has_login(node: TargetNode) -> bool:
    return "AllowAll" not in node.settings.get(_AUTHENTICATOR, "AllowAllAuthenticator")


def _has(statement: Statement, wanted: Callable[[str], bool]) -> bool:
    return any(wanted(token.text) for token in parse(statement.text).tokens)


def major(version: str) -> int:
    """Return the number of the major release, 0 if the version has none."""
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0


def has_authorization(nodes: Iterable[TargetNode]) -> bool:
    """Return whether a node checks permissions, or reports no settings."""
    return not all(_is_open(node.settings) for node in nodes)


def _is_open(settings: Mapping[str, str]) -> bool:
    # Without the setting Cassandra allows everything, and shows none.
    return bool(settings) and "AllowAll" in settings.get(_AUTHORIZER, "AllowAllAuthorizer")
