# SPDX-License-Identifier: Apache-2.0
"""What a real Ollama answered (tests/fixtures/ollama) passes through the gateway: to HTTP clients as it is, to MCP
clients as its parts."""
import json
import pathlib

import pytest

from gateway import Gateway
from http_bytes import HttpClient
from mcp_client import McpClient
from ollama_node import OllamaNode

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/ollama"
RECORDED = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
# The gateway's own to answer: what is no route or no JSON, the liveness text, other people's Hosts, pages.
LOCAL = {"root", "not-found", "method-not-allowed", "slash-too-many", "double-slash", "foreign-host", "foreign-origin",
         "preflight", "origin", "error-empty-body", "error-json", "v1-error-empty-body", "v1-error-json"}
CRASHED = {"v1-chat-stream-crash", "v1-messages-stream-crash", "v1-responses-stream-crash"}
RELAYED = sorted(RECORDED.keys() - LOCAL - CRASHED)
OPS = {"/api/generate": "generate", "/api/chat": "chat", "/api/embed": "embed", "/api/embeddings": "embeddings",
       "/api/tags": "list", "/api/ps": "ps", "/api/show": "show", "/api/version": "version", "/api/pull": "pull",
       "/api/push": "push", "/api/create": "create", "/api/copy": "copy", "/api/delete": "delete"}
NATIVE = [name for name in RELAYED if RECORDED[name]["request"]["path"] in OPS
          and RECORDED[name]["request"]["method"] != "HEAD" and "headers" not in RECORDED[name]["request"]
          and name != "error-no-model"]  # which the gateway itself says over MCP
CODES = {400: "bad_request", 404: "unknown_model", 503: "queue_full"}
OWN = {"date", "x-request-id", "connection", "transfer-encoding", "content-length"}


@pytest.fixture(scope="module")
def node():
    with OllamaNode("tiny:latest", "tinytools:latest", "tinythink:latest", "tinyembed:latest", "gemma3:270m",
                    "big:latest", "nope:latest") as node:
        yield node


@pytest.fixture(scope="module")
def gateway(node):
    with Gateway(node) as gateway:
        yield gateway


def replay(address, node, name):
    """The node's answer is the recorded one; what a client at `address` gets."""
    request = RECORDED[name]["request"]
    node.next(request["path"], [RECORDED[name]["response"].encode()])
    body = request["body"].encode() if request["method"] in ("POST", "DELETE") else None
    with HttpClient(address) as client:
        client.request(request["method"], request["path"], body, request.get("headers", []))
        return client.response()


def kept(response):
    return [(name.lower(), value) for name, value in response.headers if name.lower() not in OWN]


@pytest.mark.parametrize("name", RELAYED)
def test_http_clients_get_what_ollama_said(gateway, node, name):
    direct = replay(("127.0.0.1", node.port), node, name)
    through = replay(gateway.http, node, name)
    assert (through.first, through.body, through.complete) == (direct.first, direct.body, True)
    assert kept(through) == kept(direct)
    assert through.get("Content-Length") == direct.get("Content-Length")


@pytest.mark.parametrize("name", sorted(CRASHED))
def test_streams_of_v1_that_ollama_just_ends_are_not_ended_well(gateway, node, name):
    direct = replay(("127.0.0.1", node.port), node, name)
    through = replay(gateway.http, node, name)
    assert direct.complete and through.body.startswith(direct.body)
    (added,) = through.body[len(direct.body):].split(b"\n\n")[:-1]
    assert b'"error"' in added and b"the node ended its stream without saying so" in added
    assert added.startswith(b"event: error\n" if "messages" in name else b"data: ")


@pytest.mark.parametrize("name", NATIVE)
def test_mcp_clients_get_the_parts_of_what_ollama_said(gateway, node, name):
    request = RECORDED[name]["request"]
    direct = replay(("127.0.0.1", node.port), node, name)
    node.next(request["path"], [RECORDED[name]["response"].encode()])
    op, asked = OPS[request["path"]], json.loads(request["body"] or "{}")
    lines = [line for line in direct.body.split(b"\n") if line] or [b"{}"]
    with McpClient(gateway.mcp) as client:
        client.request(1, {**asked, "mcp": {"op": op}})
        frames = client.parts(1, single=direct.get("Content-Type") != "application/x-ndjson")
    error = json.loads(lines[-1]).get("error")
    if error is not None:
        code = CODES.get(direct.status, "upstream_error")
        assert [frame.payload for frame in frames[:-1]] == lines[:-1]
        assert frames[-1].json() == {"error": error, "code": code, "done": True,
                                     "retryable": code in ("queue_full", "upstream_error")}
    elif op in ("pull", "push", "create") and len(lines) > 1:
        assert [frame.payload for frame in frames] == [*lines, b'{"done":true}']
    else:
        assert [frame.payload for frame in frames] == lines
