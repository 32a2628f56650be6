# SPDX-License-Identifier: Apache-2.0
"""A retention policy as one word of a command line: redundancy=3,window=7."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from magnetodb_backup.domain.retention.policy import Policy

# The options of retention set, by the fields of a policy.
WORDS = {f.name: f.name.removesuffix("_days").replace("_", "-") for f in fields(Policy)}
WORDS["failed_days"] = "failed-days"
_EXAMPLE = "redundancy=3,window=7,daily=14"


def policy_from_words(text: str) -> dict[str, Any]:
    """Return the fields of a policy that a text names.

    :raises argparse.ArgumentTypeError: for a text that is none.
    """
    members = {word: name for name, word in WORDS.items()}
    found: dict[str, Any] = {}
    for part in text.split(","):
        word, equals, value = part.strip().partition("=")
        if not equals or word not in members or members[word] in found:
            raise argparse.ArgumentTypeError(
                f"{part.strip()!r} is not a rule of a policy; write for example {_EXAMPLE}, each "
                f"of {', '.join(members)} at most once"
            )
        found[members[word]] = value if word == "time-zone" else _number(word, value)
    return found


def _number(word: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word} is {value!r}; use a number") from None


def words_of(policy: Policy | Mapping[str, Any]) -> str:
    """Return a policy as words; values that are the default are left out."""
    values = asdict(policy) if isinstance(policy, Policy) else policy
    default = asdict(Policy())
    return ",".join(
        f"{word}={values[name]}" for name, word in WORDS.items() if values[name] != default[name]
    )
