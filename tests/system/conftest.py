# SPDX-License-Identifier: Apache-2.0
"""What most files here begin with: one scripted node and one gateway for the whole file.

A file says more with module variables: MODELS (of the node), CONFIG (the gateway's file), ARGS, and ENGINE: the node
is a real engine.
"""
import pytest

from engine import engine  # noqa: F401  (a fixture: the real one, where a file asks for it)
from gateway import Gateway
from mcp_client import McpClient
from ollama_node import OllamaNode


@pytest.fixture(scope="module")
def the_node(request):
    with OllamaNode(*getattr(request.module, "MODELS", ())) as node:
        yield node


@pytest.fixture(scope="module")
def the_gateway(request):
    the_node = request.getfixturevalue("engine" if hasattr(request.module, "ENGINE") else "the_node")
    with Gateway(the_node, config=getattr(request.module, "CONFIG", None),
                 args=getattr(request.module, "ARGS", ())) as gateway:
        yield gateway


@pytest.fixture
def node(the_node):
    """The node, with nothing scripted and no requests noted. At the end all that was scripted was used."""
    the_node.forget()
    yield the_node
    left = the_node.forget()
    assert not left, f"scripts nobody asked for: {left}"


@pytest.fixture
def gateway(request, the_gateway):
    """The gateway; at the end of the test nothing is in flight any more, nor on the engine."""
    engine = request.getfixturevalue("engine") if hasattr(request.module, "ENGINE") else None
    if engine:
        engine.wait_busy(0)
    else:
        request.getfixturevalue("node")
    yield the_gateway
    the_gateway.wait_idle()
    if engine:
        engine.wait_busy(0)


@pytest.fixture
def mcp(gateway):
    with McpClient(gateway.mcp) as client:
        yield client
