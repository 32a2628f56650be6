# SPDX-License-Identifier: Apache-2.0
"""What bad requests and bad configurations get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.sample import make_keyspace
from tests.lab.deployment import write_configuration
from tests.lab.rig import Rig

_BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--keyspace", "nope", "--keyspace", "faults"), "keyspace 'nope' does not exist"),
        (("--table", "faults.absent", "--table", "nope.t"), "keyspace 'nope' does not exist"),
        (("--table", "faults.absent"), "table faults.absent does not exist"),
        (("--table", 'faults."T"'), "(did you mean 't'?)"),
        (("--keyspace", "system"), "'system' is local to each node and cannot be backed up"),
        (("--keyspace", "vacant"), "vacant has no table; choose another scope"),
    ],
    ids=["keyspace", "keyspace of a table", "table", "case", "local", "empty selection"],
)
def test_what_cannot_be_backed_up(sampled: Rig, arguments: tuple[str, ...], named: str) -> None:
    make_keyspace(sampled, "vacant")
    assert named in sampled.failed(*arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--scope", "galaxy"), "'galaxy'"),
        (("--table", "faults"), "'faults'"),
        (("--table", "a.b; DROP TABLE x"), "'b; DROP TABLE x'"),
        (("--keyspace", "../../etc"), "'../../etc'"),
        (("--keyspace", "faults", "--type", "incremental"), "'incremental' (choose from 'full')"),
        (("--scope", "keyspaces", "--scope-parameter", "keyspaces"), "is not KEY=JSON"),
    ],
    ids=["scope", "table", "injection", "path", "type", "parameter"],
)
def test_requests_that_make_no_sense(sampled: Rig, arguments: tuple[str, ...], named: str) -> None:
    before = sampled.deployment.manage("backup", "list").json
    outcome = sampled.deployment.manage("backup", "create", *arguments)
    assert outcome.code == 2, outcome.out
    assert named in outcome.err
    assert "Traceback" not in outcome.err
    assert sampled.deployment.manage("backup", "list").json == before


def test_unknown_cluster_and_backup(sampled: Rig) -> None:
    outcome = sampled.deployment.manage(
        "backup", "create", "--all-keyspaces", "--cluster", "elsewhere"
    )
    assert outcome.code == 4
    assert "no worker reports a cluster 'elsewhere'; known: 'lab cluster'" in outcome.err
    missing = "11111111-1111-4111-8111-111111111111"
    for command in ("show", "files", "verify", "cancel", "delete"):
        outcome = sampled.deployment.manage("backup", command, missing)
        assert (outcome.code, missing in outcome.err) == (4, True), command


@pytest.mark.parametrize("program", ["worker", "conductor", "api", "manage"])
@pytest.mark.parametrize(
    ("group", "option", "value"),
    [
        # unit/cmd/test_configuration proves many values of these and other options.
        pytest.param("worker", "pack_size", "banana", marks=pytest.mark.nightly),
        ("storage", "driver", "floppy"),
        pytest.param("conductor", "poll_interval", "-1", marks=pytest.mark.nightly),
    ],
)
def test_bad_value_is_named_at_start(
    tmp_path: Path, program: str, group: str, option: str, value: str
) -> None:
    config = write_configuration(
        tmp_path / "bad.conf",
        {
            "DEFAULT": {"state_dir": tmp_path, "transport_url": "fake://"},
            group: {option: value},
        },
    )
    command = ["status", "check"] if program == "manage" else []
    outcome = subprocess.run(
        [str(_BIN / f"magnetodb-backup-{program}"), "--config-file", str(config), *command],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 2, outcome.stderr
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert option in last
    assert value in last
