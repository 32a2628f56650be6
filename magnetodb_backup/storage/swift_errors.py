# SPDX-License-Identifier: Apache-2.0
"""Translates answers of Swift and Keystone into the project's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import requests
import urllib3
from keystoneauth1 import exceptions as auth_errors
from swiftclient.exceptions import ClientException

from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    IncompleteBody,
    NoSpace,
    NotFound,
    StorageRefused,
    StorageUnavailable,
)

_NO_ROOM = (413, 507)
_PASSING = (408, 409, 425, 429, 498)
_TEXT = 120


def refused_certificate(error: BaseException) -> bool:
    """Return whether a TLS certificate was refused; a repetition does not change that."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _certificate_problem(error: BaseException, where: str) -> StorageRefused:
    return StorageRefused(
        f"the TLS certificate of {where} is not trusted: {error}; "
        "name the certificate authority's file in [swift] cafile"
    )


def from_answer(error: ClientException, what: str, who: str) -> BackupError:
    """Return the error for an answer with a failure status.

    :param what: the request in words, with container and object
    :param who: the identity of the caller, without its secret
    """
    status = int(error.http_status or 0)
    content = error.http_response_content or b""
    if isinstance(content, bytes):
        content = content.decode("utf-8", "replace")
    said = f"{what}: the store answered {status} {error.http_reason or ''}".rstrip()
    transaction = f" (transaction {error.transaction_id})" if error.transaction_id else ""
    if status in (401, 403):
        return AccessDenied(
            f"{said} to {who}{transaction}; check the credentials in [swift], and the role and "
            "the container's access list of this user"
        )
    if status == 404:
        return NotFound(f"{said}{transaction}")
    if status == 422:
        return IncompleteBody(f"{said}: the body does not have the announced MD5{transaction}")
    if status in _NO_ROOM:
        detail = "" if content.startswith("<") else f": {content[:_TEXT].strip()}"
        return NoSpace(
            f"{said}{detail}{transaction}; the store is full, or a quota or the largest object "
            "size is reached: add room, raise it or lower [worker] pack_size"
        )
    if status in _PASSING or status >= 500 or status == 0:
        return _unavailable(f"{said}{transaction}", error.http_response_headers)
    detail = "" if content.startswith("<") else f": {content[:_TEXT].strip()}"
    return StorageRefused(f"{said}{detail}{transaction}")


def _unavailable(text: str, headers: Mapping[str, str] | None) -> StorageUnavailable:
    """Return the error with the time of the header Retry-After (RFC 9110: seconds or a date)."""
    error = StorageUnavailable(text)
    asked = {name.lower(): value for name, value in (headers or {}).items()}.get("retry-after")
    if asked:
        with contextlib.suppress(urllib3.exceptions.InvalidHeader):
            error.retry_after = urllib3.Retry().parse_retry_after(asked)
    return error


def from_connection(error: Exception, what: str, where: str) -> BackupError:
    """Return the error for a request without a complete answer."""
    if refused_certificate(error):
        return _certificate_problem(error, where)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return StorageUnavailable(f"{what}: no answer from {where} in time: {error}")
    return StorageUnavailable(f"{what}: the connection to {where} failed: {error}")


def _headers(error: Exception) -> Mapping[str, str]:
    """Return the headers of the answer, if the identity service gave one."""
    answer = getattr(error, "response", None)
    return {} if answer is None else dict(answer.headers)


@contextlib.contextmanager
def identity_errors(where: str, who: str) -> Iterator[None]:
    """Turn keystoneauth1's errors about tokens and endpoints into the project's."""
    try:
        yield
    except (auth_errors.Unauthorized, auth_errors.Forbidden) as error:
        raise AccessDenied(
            f"{where} refuses {who} (status {error.http_status}); check name, password, project "
            "and domains in [swift]"
        ) from error
    except (auth_errors.ConnectionError, auth_errors.HttpServerError) as error:
        if refused_certificate(error):
            raise _certificate_problem(error, where) from error
        raise _unavailable(f"no token from {where}: {error}", _headers(error)) from error
    except auth_errors.HttpError as error:
        if error.http_status in _PASSING:
            raise _unavailable(f"no token from {where}: {error}", _headers(error)) from error
        raise AccessDenied(
            f"no token for {who} from {where}: {error}; check auth_url and auth_type in [swift]"
        ) from error
    except auth_errors.ClientException as error:
        raise AccessDenied(
            f"no token for {who} from {where}: {error}; check the options in [swift]"
        ) from error
