# SPDX-License-Identifier: Apache-2.0
"""MCP in front of a real Ollama: the parts are the lines that HTTP clients get from it directly."""
import json

import pytest

import compare
from asks import EMBED, MESSAGES, MODEL, PROMPT, THINK_MODEL, TOOLS_MODEL
from cases_answers import CALL, CALL_OPTIONS, EMBEDDING, OPTIONS, TOOLS
from http_bytes import ask
from mcp_client import McpClient

GENERATE = {"model": MODEL, "prompt": PROMPT, "options": OPTIONS}
CHAT = {"model": MODEL, "messages": MESSAGES, "options": OPTIONS}
NOWHERE = {"model": "127.0.0.1:1/nobody/nothing", "insecure": True}
POST, GET = "POST", "GET"
# name: (op, method, body)
ASKS = {
    "generate": ("generate", POST, GENERATE), "generate, no stream": ("generate", POST, GENERATE | {"stream": False}),
    "chat": ("chat", POST, CHAT), "chat, no stream": ("chat", POST, CHAT | {"stream": False}),
    "logprobs": ("chat", POST, CHAT | {"logprobs": True, "top_logprobs": 2}),
    "thinking": ("chat", POST, CHAT | {"model": THINK_MODEL, "think": True}),
    "call": ("chat", POST, CHAT | {"model": TOOLS_MODEL, "tools": TOOLS, "format": CALL, "options": CALL_OPTIONS}),
    "load": ("generate", POST, {"model": MODEL}), "embed": ("embed", POST, EMBEDDING["three"] | {"model": EMBED}),
    "embeddings": ("embeddings", POST, {"model": EMBED, "prompt": "hello"}), "show": ("show", POST, {"model": MODEL}),
    "list": ("list", GET, None), "ps": ("ps", GET, None), "version": ("version", GET, None),
    "unknown": ("generate", POST, GENERATE | {"model": "nope"}),
    "too many logprobs": ("generate", POST, GENERATE | {"logprobs": True, "top_logprobs": 21}),
    "does not think": ("generate", POST, GENERATE | {"think": True}),
    "bad embed": ("embed", POST, {"model": EMBED, "input": 3}),
    "pull": ("pull", POST, NOWHERE), "push": ("push", POST, NOWHERE),
    "create": ("create", POST, {"model": "mcp", "from": MODEL}),
    "copy": ("copy", POST, {"source": "mcp", "destination": "m2"}),
    "delete": ("delete", "DELETE", {"model": "mcp"}), "delete the copy": ("delete", "DELETE", {"model": "m2"}),
}
PATHS = {"list": "/api/tags"}
CODES = {400: "bad_request", 404: "unknown_model"}
SINGLE = ("embed", "embeddings", "show", "list", "ps", "version", "copy", "delete")


def lines_of(response):
    return [compare.normal(json.loads(line)) for line in response.body.split(b"\n") if line]


@pytest.mark.parametrize("name", ASKS)
def test_the_parts_are_the_lines(ollama, gateway, name):
    op, method, body = ASKS[name]
    with McpClient(gateway.mcp, timeout_s=60) as client:
        client.request(1, {**(body or {}), "mcp": {"op": op}})
        parts = [compare.normal(frame.json()) for frame in client.parts(1, single=op in SINGLE)]
    if method == "DELETE":  # which it did; directly it is no more there
        assert parts == [{}]
        return
    response = ask(ollama.address, method, PATHS.get(op, f"/api/{op}"), body, timeout_s=60)
    lines = lines_of(response)
    error = lines[-1].get("error") if lines else None
    if error is not None:
        code = CODES.get(response.status, "upstream_error")
        retryable = code == "upstream_error"
        assert parts == lines[:-1] + [{"error": error, "code": code, "done": True, "retryable": retryable}]
    elif op in ("pull", "push", "create"):
        assert parts == lines + [{"done": True}]
    else:
        assert parts == (lines or [{}])


def test_many_at_once(ollama, gateway):
    """On one connection, each in its own session, more than Ollama takes at once."""
    wanted = lines_of(ask(ollama.address, POST, "/api/generate", GENERATE))
    with McpClient(gateway.mcp, timeout_s=60) as client:
        for session in range(1, 25):
            client.request(session, GENERATE)
        for session in range(1, 25):
            parts = [compare.normal(frame.json()) for frame in client.parts(session)]
            assert [part["response"] for part in parts] == [line["response"] for line in wanted]
