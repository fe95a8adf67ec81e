"""The servers of all tests: they start once, and the last test of all kills one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from replicas import Replica, free_port


@pytest.fixture(scope="session")
def replicas() -> Iterator[list[Replica]]:
    installed = Path(os.environ["SLOTWISE_VLLM"])
    with tempfile.TemporaryDirectory(prefix="slotwise-vllm-") as folder:
        started = [Replica(number, installed, Path(folder), free_port()) for number in range(2)]
        try:
            for replica in started:
                replica.start()
            for replica in started:
                replica.wait_until_ready()
            yield started
        finally:
            for replica in started:
                replica.kill()
