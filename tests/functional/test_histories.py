# SPDX-License-Identifier: Apache-2.0
"""Random histories of tables around a backup, then a restore: the rows are as they have to be.

``tests/lab/histories`` draws and predicts them. A failure shows the CQL of the history and, for the
first failure, of a small history that fails in the same way. To repeat one alone, run its test,
for example ``test_rows_after_a_restore[merge-7]``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.lab import forked
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Outcome
from tests.lab.histories.bench import Bench, Failure
from tests.lab.histories.minimal import minimal
from tests.lab.histories.node import HistoryNode
from tests.lab.histories.story import History
from tests.lab.histories.strategies import Mode, example
from tests.lab.ports import LoopbackBlock
from tests.lab.sampling import sampled
from tests.lab.standalone import Standalone

_FIRST_HOST = 120
_ALL = 50  # histories of each mode
# Those of REFUSE delete all rows of a table in different ways; without a TRUNCATE each one fails.
_EACH_COMMIT = dict.fromkeys(Mode, (0, 1, 2, 3, 4)) | {Mode.REFUSE: (8, 18, 20, 25, 27)}
_SAMPLE = [f"{mode.value}-{number}" for mode, some in _EACH_COMMIT.items() for number in some]
_BATCH = len(_SAMPLE)  # that have one backup
_CASES = [f"{mode.value}-{number}" for number in range(_ALL) for mode in Mode]


def _history(case: str) -> History:
    mode, _, number = case.partition("-")
    return example(Mode(mode), int(number))


class Lives:
    """Lives through the selected cases when the first one of their batch is asked for."""

    def __init__(self, bench: Bench, cases: Sequence[str]) -> None:
        self._bench = bench
        self._batches = [cases[i : i + _BATCH] for i in range(0, len(cases), _BATCH)]
        self._failures: dict[str, Failure | None] = {}
        self._searched = False

    def of(self, case: str) -> str:
        """Return how a case fails; empty if it does not."""
        if case not in self._failures:
            (batch,) = [batch for batch in self._batches if case in batch]
            found = self._bench.live([_history(each) for each in batch])
            self._failures.update(zip(batch, found, strict=True))
        failure = self._failures[case]
        if failure is None:
            return ""
        return f"{failure.text}\n\n{self._minimal(_history(case), failure)}"

    def _minimal(self, history: History, failure: Failure) -> str:
        """Return a small history that fails in the same way; search it once only."""
        if self._searched:
            return ""
        self._searched = True

        def fails(histories: Sequence[History]) -> list[bool]:
            found = self._bench.live(histories)
            return [f is not None and f.what is failure.what for f in found]

        small = minimal(history, fails)
        (found,) = self._bench.live([small])
        return f"a small one: {found.text if found else 'none, it did not fail again'}"


@pytest.fixture(scope="module")
def lives(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
) -> Iterator[Lives]:
    directory = tmp_path_factory.mktemp("histories")
    cluster = CassandraCluster(
        directory / "cassandra",
        Shape(1, name="Histories", first_host=_FIRST_HOST),
        block=loopback,
    )
    (node,) = cluster.nodes
    service = Standalone(
        directory / "service",
        node,
        None,
        {
            "api": {"host": loopback.address(_FIRST_HOST + 1)},
            "cassandra": {"node_control": "jolokia"},
            "jolokia": {"url": node.jolokia_url},
            "conductor": {"poll_interval": 0.1},
        },
    )

    def manage(*arguments: str) -> Outcome:
        command = service.command(*arguments, "--format=json")
        result = forked.run(command, dict(os.environ), timeout=300)
        return Outcome(result.returncode, result.stdout, result.stderr)

    cases = [
        str(item.callspec.params["case"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    with ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.start()
        stack.callback(service.process.stop, 30)
        service.process.start()
        service.wait_ready()
        history_node = stack.enter_context(HistoryNode.connected(cluster))
        yield Lives(Bench(history_node, manage), cases)


@pytest.mark.parametrize("case", sampled(_CASES, each_commit=_SAMPLE))
def test_rows_after_a_restore(lives: Lives, case: str) -> None:
    failure = lives.of(case)
    assert not failure, failure
