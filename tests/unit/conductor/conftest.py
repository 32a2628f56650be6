# SPDX-License-Identifier: Apache-2.0
"""An empty database, and a cluster of three nodes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.database import Database, connect
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Conductor, Start


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy: migrations take longer."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite"
    database = connect(f"sqlite:///{path}")
    database.sync()
    database.close()
    return path


@pytest.fixture
def database_file(tmp_path: Path, empty_database: Path) -> Path:
    path = tmp_path / "catalogue.sqlite"
    shutil.copy(empty_database, path)
    return path


@pytest.fixture
def database(database_file: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{database_file}")
    yield database
    database.close()


@pytest.fixture
def cluster(tmp_path: Path, database_file: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, database_file)
    yield cluster
    cluster.stopping.set()
    cluster.database.close()


@pytest.fixture
def start(cluster: Cluster) -> Iterator[Start]:
    """Start conductors that share the cluster's database."""
    conductors: list[Conductor] = []

    def start(name: str = "conductor-1", timeout: float = 30.0, **settings: Any) -> Conductor:
        conductors.append(Conductor(cluster, name, timeout, **settings))
        return conductors[-1]

    yield start
    for conductor in conductors:
        conductor.stop()
