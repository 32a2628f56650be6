# SPDX-License-Identifier: Apache-2.0
"""Messages and step results of an older release can be read, and keep their keys and values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.tasks.registry import STEPS, TASKS

_RECORDED = Path(__file__).parent / "recorded"
Samples = Mapping[str, list[dict[str, Any]]]


def _load(name: str) -> Samples:
    samples: Samples = json.loads((_RECORDED / f"{name}.json").read_text())
    return samples


def _each(name: str) -> Iterator[Any]:
    for key, samples in sorted(_load(name).items()):
        for number, sample in enumerate(samples):
            yield pytest.param(key, sample, id=f"{key}-{number}")


def _reads(kind: type[Any], sample: Mapping[str, Any]) -> None:
    """Decode, encode again, and compare: nothing is lost and nothing has another value."""
    again = json.loads(json.dumps(encode(decode(kind, sample))))
    assert _missing(sample, again) == []
    assert decode(kind, again) == decode(kind, sample)


def _missing(sample: Any, again: Any, path: str = "$") -> list[str]:
    """Return the places of ``sample`` that ``again`` lacks or has with another value."""
    if isinstance(sample, dict) and isinstance(again, dict):
        return [
            place
            for key, value in sample.items()
            for place in (
                _missing(value, again[key], f"{path}.{key}") if key in again else [f"{path}.{key}"]
            )
        ]
    if isinstance(sample, list) and isinstance(again, list) and len(sample) == len(again):
        pairs = enumerate(zip(sample, again, strict=True))
        return [p for n, (a, b) in pairs for p in _missing(a, b, f"{path}[{n}]")]
    return [] if sample == again else [path]


def test_every_kind_of_the_older_release_is_recorded() -> None:
    """The release had 28 kinds; newer ones have no record."""
    tasks, results = set(_load("tasks")), set(_load("results"))
    assert tasks == results
    assert (len(tasks), tasks - {kind.value for kind in TaskKind}) == (28, set())


@pytest.mark.parametrize(("kind", "sample"), _each("tasks"))
def test_recorded_arguments(kind: str, sample: dict[str, Any]) -> None:
    _reads(TASKS[TaskKind(kind)], sample)


@pytest.mark.parametrize(("kind", "sample"), _each("results"))
def test_recorded_results(kind: str, sample: dict[str, Any]) -> None:
    _reads(TASKS[TaskKind(kind)].result, sample)


@pytest.mark.parametrize(("step", "sample"), _each("steps"))
def test_recorded_step_results(step: str, sample: dict[str, Any]) -> None:
    job, _, name = step.partition(":")
    _reads(STEPS[job][name], sample)
