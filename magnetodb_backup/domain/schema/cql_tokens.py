# SPDX-License-Identifier: Apache-2.0
"""The tokens of CQL. The texts of all tokens together are the text."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from magnetodb_backup.domain.tables import quote
from magnetodb_backup.errors import FormatProblem


class TokenKind(enum.Enum):
    """The kinds of tokens."""

    SPACE = "space"
    COMMENT = "comment"
    STRING = "string"
    QUOTED = "quoted"
    NUMBER = "number"
    WORD = "word"
    OTHER = "other"


_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*|//[^\n]*|/\*.*?\*/)
    | (?P<string>'[^']*(?:''[^']*)*'|\$\$.*?\$\$)
    | (?P<quoted>"[^"]*(?:""[^"]*)*")
    | (?P<number>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
                 |[0-9][0-9A-Za-z_]*(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<open>'|"|\$\$|/\*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN = {"'": "a string", '"': "a quoted name", "$$": "a $$ body", "/*": "a comment"}
_NAMES = (TokenKind.WORD, TokenKind.QUOTED)
_INSIGNIFICANT = (TokenKind.SPACE, TokenKind.COMMENT)


class Token(NamedTuple):
    """A piece of CQL; the texts of all tokens together are the text."""

    kind: TokenKind
    text: str

    @property
    def is_name(self) -> bool:
        """True for an identifier, quoted or not (which may also be a keyword)."""
        return self.kind in _NAMES

    @property
    def is_significant(self) -> bool:
        """False for white space and comments."""
        return self.kind not in _INSIGNIFICANT

    @property
    def name(self) -> str:
        """The identifier as Cassandra stores it."""
        if self.kind is TokenKind.QUOTED:
            return self.text[1:-1].replace('""', '"')
        return self.text.lower()

    def is_word(self, *words: str) -> bool:
        """Return whether the token is one of these keywords (upper case) or signs."""
        return self.kind in (TokenKind.WORD, TokenKind.OTHER) and self.text.upper() in words


def token_spans(text: str) -> Iterator[tuple[str, int]]:
    """Yield the text and the position of each token; of one without an end, its beginning."""
    for match in _TOKEN.finditer(text):
        yield match[0], match.start()


def tokenize(text: str) -> tuple[Token, ...]:
    """Cut CQL into tokens.

    :raises FormatProblem: for a string, name, body or comment without an end.
    """
    tokens = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "open":
            line = text.count("\n", 0, match.start()) + 1
            raise FormatProblem(f"the CQL has {_OPEN[match[0]]} without an end, from line {line}")
        tokens.append(Token(TokenKind(kind), match[0]))
    return tuple(tokens)


def tokens_before_an_open_end(text: str) -> tuple[Token, ...]:
    """Cut CQL into tokens, up to a string, name, body or comment without an end."""
    tokens = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "open":
            break
        tokens.append(Token(TokenKind(kind), match[0]))
    return tuple(tokens)


def canonical(tokens: Sequence[Token]) -> str:
    """Return tokens in one spelling: single blanks, no comments, names quoted only if needed."""
    result = ""
    wordy = False
    for token in tokens:
        if not token.is_significant:
            continue
        is_wordy = token.kind is not TokenKind.OTHER
        if result and (result[-1] in ",:=" or (wordy and is_wordy)):
            result += " "
        if token.kind is TokenKind.QUOTED:
            result += quote(token.name)
        else:
            result += token.text.lower() if token.kind is TokenKind.WORD else token.text
        wordy = is_wordy
    return result
