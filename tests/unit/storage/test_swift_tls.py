# SPDX-License-Identifier: Apache-2.0
"""The Swift driver and its token request over TLS."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from keystoneauth1 import session
from swiftclient.authv1 import PasswordPlugin

from magnetodb_backup.errors import StorageRefused
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.storage.swift import SwiftDriver
from magnetodb_backup.storage.swift_access import SwiftAccess, SwiftSettings
from tests.lab.certificates import server_context
from tests.unit.storage.configured import swift_driver
from tests.unit.storage.fake_swift import PASSWORD, FakeSwift, fake_swift


def _driver(store: FakeSwift, *, auth_verify: str | bool, verify: str | bool) -> SwiftDriver:
    auth = PasswordPlugin(store.auth_url, "test:tester", PASSWORD)
    shared = session.Session(auth=auth, verify=auth_verify)
    if auth_verify is not True:
        auth.get_access(shared)
    shared.verify = verify
    return SwiftDriver(SwiftAccess(shared, auth, SwiftSettings("test:tester", store.auth_url)))


def test_certificate_authority_is_honoured(tmp_path: Path) -> None:
    authority, context = server_context(tmp_path)
    body = b"over TLS" * 100_000
    with fake_swift(context) as store:
        driver = swift_driver(
            {
                "auth_type": "v1password",
                "auth_url": store.auth_url,
                "username": "test:tester",
                "password": PASSWORD,
                "cafile": str(authority),
            }
        )
        driver.ensure_container("c")
        driver.put("c", "o", memoryview(body), size=len(body), md5=hashlib.md5(body).hexdigest())
        assert b"".join(driver.read("c", "o")) == body
        driver.close()


@pytest.mark.parametrize("token_too", [True, False])
def test_unknown_authority_is_refused_at_once(tmp_path: Path, token_too: bool) -> None:
    authority, context = server_context(tmp_path)
    with fake_swift(context) as store:
        first: str | bool = True if token_too else str(authority)
        driver = _driver(store, auth_verify=first, verify=True)
        with pytest.raises(StorageRefused, match="cafile"):
            Retrying(driver, deadline=60).ensure_container("c")
        assert store.count("PUT") == 0
        driver.close()
