# SPDX-License-Identifier: Apache-2.0
"""Performs tasks as they come over the bus, without a dispatcher."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.dispatch import TaskHandler
from magnetodb_backup.worker.tasks import TaskContext


def perform(
    handlers: Iterable[TaskHandler],
    kind: TaskKind,
    arguments: Mapping[str, Any],
    context: TaskContext | None = None,
) -> Any:
    """Return the result of one task as the bus brings it."""
    (handler,) = [h for h in handlers if h.kind is kind]
    result = handler.perform(json.loads(json.dumps(arguments)), context or TaskContext())
    return json.loads(json.dumps(result))
