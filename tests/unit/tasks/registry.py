# SPDX-License-Identifier: Apache-2.0
"""All task classes by kind, and all classes of step results by job and step."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import magnetodb_backup.tasks
from magnetodb_backup.tasks.kinds import Task, TaskKind


def _modules() -> Iterator[Any]:
    for info in pkgutil.iter_modules(magnetodb_backup.tasks.__path__):
        yield importlib.import_module(f"{magnetodb_backup.tasks.__name__}.{info.name}")


def _classes(module: Any) -> Iterator[type[Any]]:
    """Yield the dataclasses that a module defines."""
    for value in vars(module).values():
        if isinstance(value, type) and is_dataclass(value) and value.__module__ == module.__name__:
            yield value


def _tasks() -> dict[TaskKind, type[Task[Any]]]:
    found: dict[TaskKind, type[Task[Any]]] = {}
    for module in _modules():
        for each in _classes(module):
            if issubclass(each, Task) and "kind" in vars(each):
                assert each.kind not in found, f"two classes of {each.kind}"
                found[each.kind] = each
    return found


def _steps(module: Any) -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for each in _classes(module):
        if step := vars(each).get("step"):
            assert step not in found, f"two classes of {step}"
            found[step] = each
    return found


TASKS = _tasks()
STEPS = {
    name.removesuffix("_steps"): _steps(module)
    for module in _modules()
    if (name := module.__name__.rpartition(".")[2]).endswith("_steps")
}
