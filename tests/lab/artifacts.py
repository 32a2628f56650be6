# SPDX-License-Identifier: Apache-2.0
"""Fetches Cassandra from Maven Central, Swift and Keystone from PyPI; once per machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CASSANDRA_5_0, CASSANDRA_4_1, CASSANDRA_4_0 = "5.0.9", "4.1.10", "4.0.19"
_JOLOKIA = "2.6.0"
_DRIVER = "3.11.0"
_OTHER_PLATFORMS = ("-osx-", "-windows-", "-aarch_64", "riscv64", "macos")
_SWIFT = ("swift==2.38.3", "python-swiftclient==4.11.0", "keystonemiddleware", "setuptools<81")
_KEYSTONE = ("keystone==30.0.0", "setuptools<81")
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lab</groupId><artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.apache.cassandra</groupId>
<artifactId>cassandra-all</artifactId><version>{version}</version></dependency></dependencies>
</project>
"""


def cache() -> Path:
    """Return the directory of fetched things: MAGNETODB_BACKUP_CACHE, or below ~/.cache."""
    named = os.environ.get("MAGNETODB_BACKUP_CACHE")
    path = Path(named) if named else Path.home() / ".cache" / "magnetodb-backup"
    path.mkdir(parents=True, exist_ok=True)
    return path


@dataclass(frozen=True)
class Distribution:
    """A Cassandra version's jars, and the Jolokia agent."""

    version: str
    lib: Path
    jolokia: Path

    @property
    def jars(self) -> list[Path]:
        """The jars of the class path, in an order that stays."""
        return sorted(self.lib.glob("*.jar"))


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with (cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the directory ``name`` of the cache; ``make`` fills it where it is not complete."""
    target = cache() / name
    with _locked(name):
        if not (target / ".done").exists():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            sys.stderr.write(f"==> preparing {name}\n")
            make(target)
            (target / ".done").touch()
    return target


def _run(what: str, argv: list[str], cwd: Path) -> None:
    for attempt in (1, 2, 3):
        try:
            result = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=900)
        except FileNotFoundError:
            raise RuntimeError(
                f"{what}: {argv[0]} is not installed; run tools/bootstrap.sh"
            ) from None
        if result.returncode == 0:
            return
        sys.stderr.write(f"==> {what} failed (attempt {attempt} of 3)\n")
    end = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
    raise RuntimeError(f"{what} failed; is the network there?\n{end}")


def cassandra_distribution(version: str = CASSANDRA_5_0) -> Distribution:
    """Return a Cassandra version, fetched if need be."""

    def make(target: Path) -> None:
        (target / "pom.xml").write_text(_POM.format(name=target.name, version=version))
        maven = ["mvn", "-q", "-B", "-ntp"]
        copy = [*maven, "dependency:copy-dependencies", "-DincludeScope=runtime"]
        _run(f"Cassandra {version}", [*copy, f"-DoutputDirectory={target / 'lib'}"], target)
        for jar in (target / "lib").iterdir():
            if any(part in jar.name for part in _OTHER_PLATFORMS):
                jar.unlink()
        agent = f"org.jolokia:jolokia-agent-jvm:{_JOLOKIA}:jar:javaagent"
        copy = [*maven, "dependency:copy", f"-Dartifact={agent}", f"-DoutputDirectory={target}"]
        _run("the Jolokia agent", copy, target)

    directory = once(f"cassandra-{version}", make)
    (agent,) = directory.glob("jolokia-*.jar")
    return Distribution(version, directory / "lib", agent)


def java_driver() -> Path:
    """Return the driver that sstableloader of 4.0 and 4.1 needs and its jar does not ask for."""

    def make(target: Path) -> None:
        artifact = f"com.datastax.cassandra:cassandra-driver-core:{_DRIVER}:jar:shaded"
        copy = ["mvn", "-q", "-B", "-ntp", "dependency:copy", f"-Dartifact={artifact}"]
        _run("the Java driver", [*copy, f"-DoutputDirectory={target}"], target)

    (jar,) = once(f"java-driver-{_DRIVER}", make).glob("*.jar")
    return jar


def _environment(name: str, requirements: tuple[str, ...]) -> Path:
    def make(target: Path) -> None:
        _run(f"the environment {name}", [sys.executable, "-m", "venv", str(target)], target)
        install = [str(target / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
        _run(f"the packages of {name}", [*install, *requirements], target)

    return once(name, make)


def swift_environment() -> Path:
    """Return a virtual environment with Swift, made if need be."""
    return _environment("swift-2.38.3", _SWIFT)


def keystone_environment() -> Path:
    """Return a virtual environment with Keystone, made if need be."""
    return _environment("keystone-30.0.0", _KEYSTONE)
