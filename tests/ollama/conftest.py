# SPDX-License-Identifier: Apache-2.0
"""One real Ollama and one gateway before it for the whole run."""
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "system"))  # whose clients are asked here too
pytest.register_assert_rewrite("test_clients")

from gateway import Gateway  # noqa: E402
from real import MODELFILES, Ollama  # noqa: E402


@pytest.fixture(scope="session")
def ollama():
    with Ollama() as server:
        server.create(*MODELFILES)
        yield server


@pytest.fixture(scope="session")
def the_gateway(ollama):
    with Gateway(ollama) as gateway:
        yield gateway


@pytest.fixture
def gateway(the_gateway):
    yield the_gateway
    the_gateway.wait_idle()
