# SPDX-License-Identifier: Apache-2.0
"""What the documentation tells people to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENTS = Path(__file__).parents[2] / "doc" / "source"
_LABEL = re.compile(r"\.\. _([\w-]+):$")
_BLOCK = re.compile(r"\.\. code-block:: (\w+)$")
_PROMPT = re.compile(r"[$#] (.+)$")


@dataclass(frozen=True)
class Typed:
    """A line of a block; ``section`` is the label before it, empty if there is none."""

    section: str
    line: str

    @property
    def words(self) -> list[str]:
        """The line as a shell splits it, without comments."""
        return shlex.split(self.line, comments=True)


def block_lines(text: str, language: str) -> Iterator[Typed]:
    """Yield the lines of the blocks of one language in a reStructuredText document."""
    section, indent, here = "", -1, False  # indent of the block's directive; -1 is outside
    for line in text.replace("\\\n", " ").splitlines():  # a line may go on
        stripped = line.strip()
        width = len(line) - len(line.lstrip())
        if label := _LABEL.match(line):
            section = label[1]
        if block := _BLOCK.match(stripped):
            indent, here = width, block[1] == language
        elif indent >= 0 and stripped and width <= indent:
            indent = -1
        elif indent >= 0 and here and stripped:
            yield Typed(section, stripped)


def console_lines(text: str) -> Iterator[Typed]:
    """Yield what follows a prompt in console blocks."""
    for typed in block_lines(text, "console"):
        if found := _PROMPT.match(typed.line):
            yield Typed(typed.section, found[1])
