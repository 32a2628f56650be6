# SPDX-License-Identifier: Apache-2.0
"""How Java is started with the classes of the installed Cassandra."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from magnetodb_backup.errors import ScratchFailed

# Debian and RPM packages, and archives unpacked in the usual places.
_INCLUDES = (
    "/usr/share/cassandra/cassandra.in.sh",
    "/opt/cassandra/bin/cassandra.in.sh",
    "/usr/local/cassandra/bin/cassandra.in.sh",
)
# The process writes its own ID before it becomes Java, so no Java runs that is not recorded.
# Its heap is not locked into memory.
_RECORD = 'umask 077; ulimit -l 0; echo "$$" > "$1" || exit 1; shift; '
_SOURCE = (
    f'{_RECORD}conf=$1; shift; . "$0" || exit 1; '
    'exec "${JAVA:-java}" $JAVA_AGENT $JVM_OPTS -cp "$conf:$CLASSPATH" "$@"'
)
_EXECUTE = f'{_RECORD}exec "$@"'
# Options and class paths of the worker's own environment are not meant for the scratch Cassandra.
_NOT_INHERITED = ("CLASSPATH", "JVM_OPTS", "JVM_EXTRA_OPTS", "JAVA_AGENT", "CASSANDRA_CONF")


@dataclass(frozen=True)
class Installation:
    """The installed Cassandra: either its ``cassandra.in.sh`` or a class path.

    ``java`` belongs to the class path; ``java_options`` are appended to those of either.
    """

    include: str = ""
    class_path: str = ""
    java: str = "java"
    java_options: tuple[str, ...] = ()
    heap: str = "512M"

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Installation:
        """Return the installation that group ``[scratch]`` describes."""
        options = conf.scratch
        return cls(
            include=options.include or "",
            class_path=options.class_path or "",
            java=options.java,
            java_options=tuple(options.java_options),
            heap=options.heap,
        )

    def command(
        self, record: Path, conf: Path, properties: Mapping[str, str], *program: str
    ) -> list[str]:
        """Return the command that runs ``program``, a class with arguments.

        Its process ID is written to ``record`` first. The directory ``conf`` comes first in the
        class path; ``properties`` are Java's.

        :raises ScratchFailed: if no installation is configured or found.
        """
        options = [
            *self.java_options,
            f"-Xms{self.heap}",
            f"-Xmx{self.heap}",
            *(f"-D{name}={value}" for name, value in properties.items()),
        ]
        if self.class_path:
            path = f"{conf}:{self.class_path}"
            java = [self._java(), *options, "-cp", path, *program]
            return ["/bin/sh", "-c", _EXECUTE, "sh", str(record), *java]
        return [
            "/bin/sh", "-c", _SOURCE, self._include(), str(record), str(conf), *options, *program,
        ]  # fmt: skip

    def _java(self) -> str:
        found = shutil.which(self.java)
        if found is None:
            raise ScratchFailed(f"{self.java} is no program; correct [scratch] java")
        return found

    def _include(self) -> str:
        candidates: Sequence[str] = (self.include,) if self.include else _INCLUDES
        for path in candidates:
            if os.access(path, os.R_OK):
                return path
        if self.include:
            raise ScratchFailed(f"{self.include} cannot be read; correct [scratch] include")
        raise ScratchFailed(
            f"no installed Cassandra was found (no {', '.join(_INCLUDES)}); set [scratch] include "
            "to its cassandra.in.sh, or [scratch] class_path"
        )


def environment() -> dict[str, str]:
    """Return the environment of the scratch Cassandra."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    # cassandra.in.sh reads Java's options for servers then, not those for tools.
    return {**kept, "jvmoptions_variant": "-server"}
