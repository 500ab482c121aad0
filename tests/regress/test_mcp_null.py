# SPDX-License-Identifier: Apache-2.0
"""In a request null stands for absent, as it does in Ollama: what is null is inherited."""
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
