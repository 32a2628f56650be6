# SPDX-License-Identifier: Apache-2.0
"""Fingerprints: what is digested, what is steady, and how checks are described."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    RowDigest,
    TableCheck,
    TableFingerprints,
    TokenRange,
    assign_ranges,
    difference_texts,
    merged_checks,
    read_once,
    settled,
    split_ring,
)
from magnetodb_backup.domain.partitioners import MURMUR3, RANDOM
from magnetodb_backup.domain.tables import TableName
from tests.unit.worker.fake_node import member

TABLE = TableName("ks", "t")
LOWEST, HIGHEST = MURMUR3.lowest, MURMUR3.highest
RANGE = TokenRange(-5, 10)
DIGEST = "ab" * 32


def _fingerprint(*rows: str) -> Fingerprint:
    digest = RowDigest()
    digest.add(rows)
    return digest.fingerprint()


def test_a_digest_is_that_of_the_rows_texts_each_with_a_line_feed() -> None:
    text = '{"id": 1, "text": "ä"}\n{"id": 2, "text": null}\n'
    expected = Fingerprint(2, hashlib.sha256(text.encode()).hexdigest())
    assert _fingerprint(*text.splitlines()) == expected


def test_pages_do_not_matter_but_order_and_borders_of_rows_do() -> None:
    digest = RowDigest()
    for page in (["a"], [], ["b", "c"]):
        digest.add(page)
    assert digest.fingerprint() == _fingerprint("a", "b", "c")
    assert _fingerprint("b", "a", "c") != _fingerprint("a", "b", "c")
    assert _fingerprint("ab") != _fingerprint("a", "b")
    assert _fingerprint() == Fingerprint(0, hashlib.sha256().hexdigest())


def test_equal_looks_are_steady() -> None:
    look = read_once(TABLE, RANGE, _fingerprint("a"))
    assert look.state is RangeState.STEADY
    assert settled(look, look) == look


def test_what_changed_meanwhile_is_not_compared() -> None:
    before, after = (read_once(TABLE, RANGE, _fingerprint(text)) for text in "ab")
    assert settled(before, after) == RangeFingerprint(TABLE, RANGE, RangeState.CHANGING)


def test_what_one_look_could_not_read_is_unread() -> None:
    seen, unseen = read_once(TABLE, RANGE, _fingerprint("a")), read_once(TABLE, RANGE, None)
    for before, after in ((seen, unseen), (unseen, seen), (unseen, unseen)):
        assert settled(before, after) == RangeFingerprint(TABLE, RANGE, RangeState.UNREAD)


def test_lines() -> None:
    steady = RangeFingerprint(
        TABLE,
        TokenRange(LOWEST, HIGHEST),
        RangeState.STEADY,
        Fingerprint(3, DIGEST),
    )
    assert steady.as_json() == {
        "keyspace": "ks",
        "table": "t",
        "start": str(LOWEST),
        "end": str(HIGHEST),
        "state": "steady",
        "rows": 3,
        "sha256": DIGEST,
    }
    unread = replace(steady, state=RangeState.UNREAD, fingerprint=None).as_json()
    assert (unread["state"], "rows" in unread, "sha256" in unread) == ("unread", False, False)
    assert TokenRange.from_json(json.loads(json.dumps(RANGE.as_json()))) == RANGE


def test_ranges_in_each_state_are_counted() -> None:
    counted = TableFingerprints()
    for state in (RangeState.STEADY, RangeState.CHANGING, RangeState.STEADY, RangeState.UNREAD):
        counted = counted.plus(state)
    assert counted == TableFingerprints(steady=2, changing=1, unread=1)


def test_a_small_ring_is_divided_evenly() -> None:
    assert split_ring([0], 2) == (TokenRange(LOWEST, 0), TokenRange(0, HIGHEST))
    quarter = 1 << 62
    assert [r.end for r in split_ring([0], 4)] == [-quarter, 0, (1 << 62) - 1, HIGHEST]
    assert len(split_ring([-100, 0, 100], 64)) == 64


def test_a_large_ring_is_divided_where_some_of_its_ranges_end() -> None:
    ranges = split_ring(range(1000), 10)
    assert [r.end for r in ranges] == [100, 201, 302, 403, 504, 605, 706, 807, 908, HIGHEST]


def test_the_lowest_token_ends_no_range() -> None:
    """Cassandra gives it to no key, and nothing precedes it."""
    assert split_ring([LOWEST], 2) == (
        TokenRange(LOWEST, -1),
        TokenRange(-1, HIGHEST),
    )


@pytest.mark.parametrize("tokens", [[0], [0, 1 << 127], [(1 << 127) // 17 * n for n in range(16)]])
def test_ranges_have_all_keys_of_an_old_partitioner(tokens: list[int]) -> None:
    """RandomPartitioner's tokens reach from 0 to 2^127: no row is above the last range."""
    ranges = split_ring(tokens, 64, RANDOM)
    assert (ranges[0].start, ranges[-1].end) == (-1, 1 << 127)
    assert all(a.end == b.start for a, b in pairwise(ranges))
    assert 2 <= len(ranges) <= 64


def test_a_range_is_read_by_the_owner_of_its_end() -> None:
    ring = [member(n) for n in (1, 2, 3)]  # tokens 100, 200, 300
    hosts = [m.host_id for m in ring]
    ranges = (TokenRange(LOWEST, 100), TokenRange(100, 150), TokenRange(150, 300))
    around = TokenRange(300, HIGHEST)
    assert assign_ranges((*ranges, around), ring, hosts) == {
        hosts[0]: (ranges[0], around),
        hosts[1]: (ranges[1],),
        hosts[2]: (ranges[2],),
    }
    assert assign_ranges((*ranges, around), ring, hosts[:1]) == {hosts[0]: (*ranges, around)}
    assert assign_ranges((*ranges, around), ring, hosts[::2]) == {
        hosts[0]: (ranges[0], around),
        hosts[2]: ranges[1:],
    }
    assert assign_ranges(ranges, ring, []) == {}


def _expected(rows: int) -> RangeFingerprint:
    return RangeFingerprint(TABLE, RANGE, RangeState.STEADY, Fingerprint(rows, DIGEST))


def test_a_check_counts_ranges_and_rows() -> None:
    check = (
        TableCheck()
        .compared(_expected(3), Fingerprint(3, DIGEST))
        .compared(_expected(5), Fingerprint(4, "cd" * 32))
        .left_out(RangeState.CHANGING)
        .left_out(RangeState.UNREAD)
    )
    difference = {"start": "-5", "end": "10", "rows_expected": 5, "rows_found": 4}
    assert check.as_json() == {
        "equal": 1,
        "different": 1,
        "changing": 1,
        "unread": 1,
        "rows_expected": 8,
        "rows_found": 7,
        "differences": [difference],
    }
    assert TableCheck.from_json(json.loads(json.dumps(check.as_json()))) == check
    assert check.as_text() == (
        "1 of 2 token ranges equal, 7 rows of 8; 1 ranges changed while the backup was made: not "
        "compared; 1 ranges could not be read for the backup: not compared"
    )


def test_other_rows_of_the_same_number_differ() -> None:
    check = TableCheck().compared(_expected(3), Fingerprint(3, "cd" * 32))
    assert (check.equal, check.different, check.rows_found) == (0, 1, 3)
    (told,) = difference_texts({"ks.t": check})
    assert told == ("ks.t: 1 of 1 token ranges differ, 3 rows found of 3: (-5, 10] 3 rows of 3")


def test_many_differences_are_counted_and_some_are_shown() -> None:
    check = TableCheck()
    for _ in range(30):
        check = check.compared(_expected(3), Fingerprint(0, "cd" * 32))
    assert (check.different, len(check.differences)) == (30, 20)
    (told,) = difference_texts({"ks.t": check})
    assert told.endswith("(-5, 10] 0 rows of 3 and 27 more")


def test_what_nodes_found_is_put_together() -> None:
    equal = TableCheck().compared(_expected(3), Fingerprint(3, DIGEST))
    different = TableCheck().compared(_expected(5), Fingerprint(6, "cd" * 32))
    merged = merged_checks([{"ks.t": equal}, {"ks.u": equal, "ks.t": different}])
    assert list(merged) == ["ks.t", "ks.u"]
    assert merged["ks.u"] == equal
    found = merged["ks.t"]
    assert (found.equal, found.different, found.rows_found) == (1, 1, 9)
    assert len(found.differences) == 1
    assert list(difference_texts({"ks.u": merged["ks.u"]})) == []
