# SPDX-License-Identifier: Apache-2.0
"""The part of a plan about objects that cannot be created, are left out, or lose grants."""

from __future__ import annotations

from collections.abc import Sequence

from magnetodb_backup.conductor.restore.findings import Findings
from magnetodb_backup.domain.restore.records import Existing, RestoreRequest
from magnetodb_backup.domain.restore.target_classes import lacking_in_target
from magnetodb_backup.domain.restore.target_guardrails import PlannedStatements, guardrail_problems
from magnetodb_backup.domain.restore.target_settings import has_authorization, setting_problems
from magnetodb_backup.domain.schema.cql_text import Statement, split_statements
from magnetodb_backup.domain.schema.skips import broken_without
from magnetodb_backup.domain.schema.steps import names_of
from magnetodb_backup.domain.tables import SYSTEM_KEYSPACES, TableName

_GRANTS = 100  # statements in a plan


def schema_problems(request: RestoreRequest, found: Findings) -> list[str]:
    """Return what the target's nodes forbid or lack, and what cannot be left out."""
    steps = found.steps
    statements = (*steps.before, *steps.after)
    present = [TableName(*v) for v in names_of(found.compared.present_views, "view")]
    return [
        *setting_problems(found.target_nodes(), statements, present),
        *guardrail_problems(found.target_nodes(), _planned(request, found)),
        *lacking_in_target(found.target_nodes(), _statements(found)).problems,
        *broken_without(found.left_out.statements, statements),
    ]


def _statements(found: Findings) -> list[Statement]:
    texts = (*found.steps.before, *found.steps.after)
    return [statement for text in texts for statement in split_statements(text)]


def _planned(request: RestoreRequest, found: Findings) -> PlannedStatements:
    statements = _statements(found)
    keeps = request.node or request.offline or request.existing is Existing.MERGE
    return PlannedStatements(
        statements,
        # A table that was just created is truncated, too.
        truncates=not keeps or any(s.kind == "table" for s in statements),
        keyspaces=len(set(found.compared.replication) - SYSTEM_KEYSPACES),
        tables=found.compared.user_tables,
    )


def schema_warnings(found: Findings) -> list[str]:
    """Return what the target lacks after the restore: skipped objects, grants."""
    present = set(names_of(found.compared.present_views, "view"))
    dropped = set(found.steps.drop)
    warnings = []
    for statement in found.left_out.statements:
        name = (statement.keyspace, statement.name)
        what = f"{statement.kind} {TableName(*name)}"
        if (statement.kind == "view" and name in present) or name in dropped:
            warnings.append(
                f"{what} is dropped and not created again, as --skip says; queries by it fail"
            )
        else:
            warnings.append(f"{what} is not created, as --skip says")
    warnings += [
        f"--skip {option} names nothing that this restore would create"
        for option in found.left_out.unused
        if option not in found.compared.skipped
    ]
    lacking = lacking_in_target(found.target_nodes(), _statements(found)).warnings
    return [*warnings, *lacking, *_grant_warnings(found)]


def _grant_warnings(found: Findings) -> list[str]:
    tables = [str(TableName(*t)) for t in names_of(found.steps.before, "table")]
    if not tables or not has_authorization(found.target_nodes()):
        return []
    created = _some(tables)
    grants = found.compared.grants
    if grants is None:
        lost = "the backup does not know which grants they had, give them again"
    elif grants:
        lost = f"their grants are lost, give them again: {_some(grants, ' ', _GRANTS)}"
    else:
        lost = "they had no grants"
    return [f"{created}: created by the role of this service, which owns them; {lost}"]


def _some(names: Sequence[str], joint: str = ", ", most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return joint.join(names[:most]) + more
