# SPDX-License-Identifier: Apache-2.0
"""Errors and warnings on standard error: coloured on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys

_STYLES = {"error": "bold red", "warning": "yellow"}


def complain(kind: str, text: str) -> None:
    """Write ``kind: text``; ``kind`` is ``error`` or ``warning``, or empty for the text alone."""
    line = f"{kind}: {text}" if kind else text
    sys.stdout.flush()  # on one terminal, the complaint comes after the output
    if sys.stderr.isatty():
        # rich takes 0.05 s to import, and most commands end without a complaint.
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, highlight=False)
        console.print(Text(line, style=_STYLES.get(kind, "yellow")), soft_wrap=True)
    else:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
