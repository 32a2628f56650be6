# SPDX-License-Identifier: Apache-2.0
"""The limit of bytes per second holds, whatever the pieces and the pauses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.storage.throttling import Pace

rates = st.integers(1000, 100_000_000)


class Clock:
    """Time that passes by sleeping, and by ``pass_by``."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@given(
    rates,
    st.lists(st.tuples(st.integers(0, 100_000_000), st.floats(0, 5)), min_size=1, max_size=40),
)
def test_no_stretch_of_time_sees_more_than_the_rate_a_burst_and_a_piece(
    rate: int, steps: list[tuple[int, float]]
) -> None:
    clock = Clock()
    pace = Pace(lambda: rate, clock=clock, sleep=clock.pass_by)
    sent: list[tuple[float, int]] = []
    for wanted, pause in steps:
        clock.pass_by(pause)
        piece = pace.piece(wanted)
        assert piece <= max(wanted, 0)
        pace.wait(piece)
        sent.append((clock.now, piece))
    largest = max(piece for _, piece in sent)
    for number, (begin, _) in enumerate(sent):
        total = 0
        for end, piece in sent[number:]:
            total += piece
            assert total <= (end - begin) * rate + rate * 0.1 + largest + len(sent)


@given(rates, st.integers(1, 1_000_000_000))
def test_an_even_flow_comes_close_to_the_rate(rate: int, wanted: int) -> None:
    clock = Clock()
    pace = Pace(lambda: rate, clock=clock, sleep=clock.pass_by)
    piece = pace.piece(wanted)
    total = 0
    while total < rate * 2 and total < piece * 200:
        pace.wait(piece)
        total += piece
    assert clock.now <= total / rate + 0.1


@given(st.integers(-5, 0), st.lists(st.integers(0, 1 << 40), max_size=10))
def test_without_a_limit_nothing_waits(rate: int, amounts: list[int]) -> None:
    clock = Clock()
    pace = Pace(lambda: rate, clock=clock, sleep=clock.pass_by)
    for amount in amounts:
        assert pace.piece(amount) == amount
        pace.wait(amount)
    assert clock.now == 0


@given(st.lists(rates, min_size=2, max_size=20))
def test_a_change_holds_from_the_next_piece_on(changes: list[int]) -> None:
    clock, current = Clock(), [changes[0]]
    pace = Pace(lambda: current[0], clock=clock, sleep=clock.pass_by)
    for rate in changes:
        current[0] = rate
        piece = pace.piece(1 << 40)
        begin = clock.now
        for _ in range(12):
            pace.wait(piece)
        # At most what the bucket holds goes at once, the rest at the rate.
        assert clock.now - begin >= (12 * piece - piece) / rate - 0.1 - 12 / rate
