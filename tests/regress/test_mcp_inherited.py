# SPDX-License-Identifier: Apache-2.0
"""What a session inherits: null stands for absent, as it does in Ollama; health sets nothing."""
import pytest

from gateway import Gateway
from mcp_client import McpClient
from ollama_node import OllamaNode


@pytest.mark.parametrize("model", [None, ""])
def test_a_model_that_is_null_or_empty_is_inherited(model):
    with OllamaNode() as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        client.ask({"model": "m", "prompt": "a"})
        client.ask({"prompt": "b", "model": model})
        client.ask({"prompt": "c"})
        assert [request.json()["model"] for request in node.of("/api/generate")] == ["m"] * 3


def test_options_that_are_null_are_inherited_and_pass_on_nothing():
    with OllamaNode() as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        client.ask({"model": "m", "prompt": "a", "options": {"seed": 1}})
        for prompt in "bc":
            client.ask({"prompt": prompt, "options": None, "mcp": {"continue": True}})
        assert [request.json()["options"] for request in node.of("/api/generate")] == [{"seed": 1}] * 3


def test_deep_health_leaves_the_session_as_it_was():
    """The node that made its token is not where the session's next request has to go."""
    with OllamaNode("a") as first, OllamaNode("a", "b") as second:
        with Gateway(first, second) as gateway, McpClient(gateway.mcp) as client:
            client.ask({"mcp": {"op": "health"}, "deep": True, "model": "b"}, single=True)
            assert len(second.of("/api/generate")) == 1
            client.ask({"model": "a", "prompt": "hi"})
            assert len(first.of("/api/generate")) == 1
