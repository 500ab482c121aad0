# SPDX-License-Identifier: Apache-2.0
"""What the table of hostile requests (tests/lib/hostile_http.py) says of Ollama is so."""
import contextlib

import pytest

from hostile_http import CASES, SAME
from http_bytes import HttpClient
from real import Ollama

SILENCE_S = 0.3


@pytest.fixture(scope="module")
def empty_ollama():
    with Ollama() as server:
        yield server


@pytest.mark.parametrize("name", CASES)
def test_status(name, empty_ollama):
    case = CASES[name]
    wanted = case.status if case.ollama is SAME else case.ollama
    with HttpClient(empty_ollama.address, timeout_s=SILENCE_S if wanted is None else 20) as client:
        with contextlib.suppress(ConnectionError):  # it may have said what it thinks before all of it came
            client.send(case.data)
        if wanted is None:
            with pytest.raises(TimeoutError):
                client.head()
        else:
            assert client.head().status == wanted
