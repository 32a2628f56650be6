# SPDX-License-Identifier: Apache-2.0
"""What is whole is kept while the rest of a download does not come."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from magnetodb_backup.repository.download.download import DownloadSettings
from tests.lab.processes import wait_for
from tests.unit.repository.disk import PACK_SIZE, noise
from tests.unit.repository.stages import Stage


@pytest.mark.parametrize("concurrency", [1, 3])
def test_finished_files_do_not_wait_for_the_others(stage: Stage, concurrency: int) -> None:
    for number in range(3):
        stage.disk.write(f"f{number}", noise(number, PACK_SIZE))
    stage.disk.upload()
    come = threading.Event()

    def third_stalls(pack: str, chunk: bytes) -> bytes:
        if len(stage.store.reads) == 3 and pack == stage.store.reads[2][0]:
            assert come.wait(30)
        return chunk

    stage.store.on_chunk = third_stalls
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stage.download, settings=DownloadSettings(concurrency=concurrency))
        try:
            wait_for(
                lambda: stage.journal.exists() and stage.journal.read_bytes().count(b"\n") == 2,
                deadline=20,
                what="two finished files",
            )
        finally:
            come.set()
        running.result(30)
    assert stage.contents() == stage.disk.contents()
