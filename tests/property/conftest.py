# SPDX-License-Identifier: Apache-2.0
"""Settings of Hypothesis: no time limit for an example, nothing left behind in the tree."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", max_examples=60, deadline=None, database=None, print_blob=True)
settings.load_profile("project")
