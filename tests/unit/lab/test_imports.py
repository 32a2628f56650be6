# SPDX-License-Identifier: Apache-2.0
"""A test of the domain imports nothing that starts servers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parents[3]
_SCRIPT = """
import sys
import pytest
code = pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", "tests/unit/domain"])
loaded = {m for m in sys.modules if m.startswith("tests.lab.") or m in ("cassandra", "swiftclient")}
print(code, sorted(loaded))
"""


def test_domain_tests_import_no_server() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT], cwd=_CHECKOUT, capture_output=True, text=True, timeout=120
    )
    names = ("balance", "catalogue", "measuring", "schedules", "servers")
    allowed = [f"tests.lab.{name}" for name in names]
    assert result.stdout.splitlines()[-1] == f"0 {allowed}", result
