# SPDX-License-Identifier: Apache-2.0
"""The process that runs the model dies within an answer: what Ollama keeps to itself, the gateway says."""
import json
import os
import pathlib
import signal

import pytest

from asks import MODEL
from engine_asks import LONG, NATIVE, V1, body_of
from http_bytes import HttpClient
from mcp_client import McpClient

DIED = "the node ended its stream without saying so"


def kill_runners(ollama):
    """At least one: that of the model which is answering."""
    children = pathlib.Path(f"/proc/{ollama.process.pid}/task").glob("*/children")
    runners = [int(pid) for path in children for pid in path.read_text().split()]
    assert runners
    for pid in runners:
        os.kill(pid, signal.SIGKILL)


def broken(address, ollama, path):
    """The answer at `address` of which the runner is killed at its first chunk."""
    with HttpClient(address, timeout_s=60) as client:
        client.request("POST", path, body_of(path, LONG, model=MODEL))
        response = client.head()
        assert response.status == 200 and client.chunk()
        kill_runners(ollama)
        client.finish(response)
        return response


@pytest.mark.parametrize("path", NATIVE + V1)
def test_a_stream_that_dies_ends_with_an_error(ollama, gateway, path):
    direct, through = broken(ollama.address, ollama, path), broken(gateway.http, ollama, path)
    assert direct.complete and through.complete
    last = through.chunks[-1]
    if path in NATIVE:
        assert b"error" in direct.chunks[-1] and json.loads(last)["error"]
    else:
        assert DIED.encode() not in direct.body and b'"error"' in last and DIED.encode() in last
        assert b"[DONE]" not in through.body and b"message_stop" not in through.body
    gateway.wait_idle()


def test_over_mcp_it_is_an_error_too(ollama, gateway):
    with McpClient(gateway.mcp, timeout_s=60) as client:
        client.request(1, body_of("/api/generate", LONG, model=MODEL))
        assert client.frame(1).json()["done"] is False
        kill_runners(ollama)
        last = client.parts(1)[-1].json()
        assert last["done"] is True and last["code"] == "upstream_error" and last["error"]
        client.request(2, body_of("/api/generate", 3, model=MODEL))  # the next one loads the model again
        assert client.parts(2)[-1].json()["done_reason"] == "length"
