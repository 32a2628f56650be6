# SPDX-License-Identifier: Apache-2.0
"""Files of certificates for connections to Cassandra and its agent."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from magnetodb_backup.errors import AccessDenied


@dataclass(frozen=True)
class TlsFiles:
    """Paths of PEM files; an empty one is not used.

    ``ca`` has the authorities that the server's certificate is checked with. ``certificate`` and
    ``key`` identify the client, where the server asks for that; the key may be in the former file.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""

    @classmethod
    def from_options(cls, options: Any) -> TlsFiles | None:
        """Return the files of a group's ca_file, cert_file and key_file; None if none is set."""
        files = cls(options.ca_file or "", options.cert_file or "", options.key_file or "")
        return files if files != cls() else None

    def client(self) -> str | tuple[str, str] | None:
        """Return the client's certificate as ``requests`` takes it."""
        if self.certificate and self.key:
            return self.certificate, self.key
        return self.certificate or None

    def context(self, group: str) -> ssl.SSLContext:
        """Return a client's TLS context.

        :param group: of the options ca_file, cert_file and key_file, for errors
        :raises AccessDenied: naming the option and the file that cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise AccessDenied(
                f"[{group}] ca_file {self.ca} cannot be used ({error.strerror or error})"
            ) from None
        if self.certificate or self.key:
            self._identify(context, group)
        return context

    def _identify(self, context: ssl.SSLContext, group: str) -> None:
        if not self.certificate:
            raise AccessDenied(f"[{group}] key_file is set without cert_file; set both")
        try:
            # Without a callback OpenSSL asks the terminal for the password of an encrypted key.
            context.load_cert_chain(self.certificate, self.key or None, password=lambda: b"")
        except OSError as error:
            raise AccessDenied(
                f"[{group}] cert_file {self.certificate} and key_file {self.key or '(none)'} "
                f"cannot be used ({error.strerror or error}); both are PEM files that belong "
                "together, and the key is not encrypted"
            ) from None
