# SPDX-License-Identifier: Apache-2.0
"""The scripted node of the other tests (lib/ollama_node.py) answers in the shapes a real Ollama was recorded with."""
import json
import pathlib

import pytest

from http_bytes import HttpClient, Reader
from ollama_node import OllamaNode

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/ollama"
RECORDED = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
# Tests script these themselves: what is refused, fails, thinks or calls tools.
SCRIPTED = ("blob-", "busy", "crash", "error", "logprobs", "slash", "thinking", "tool-call")
NAMES = [name for name, recorded in RECORDED.items()
         if "headers" not in recorded["request"] and not any(word in name for word in SCRIPTED)]
OPEN = ("capabilities", "model_info")  # of later versions; of each model


@pytest.fixture(scope="module")
def the_node():
    with OllamaNode("tiny:latest", "tinyembed:latest", "made:latest", "big:latest") as node:
        yield node


class Bytes:
    """Enough of a socket to read what was recorded."""

    def __init__(self, data):
        self.data = data

    def recv(self, count):
        data, self.data = self.data[:count], self.data[count:]
        return data


def recorded_response(name):
    client = HttpClient.__new__(HttpClient)
    client.reader = Reader(Bytes(RECORDED[name]["response"].encode()))
    return client.response(RECORDED[name]["request"]["method"])


def alike(one, other):
    """The same names and types; a null may be anything, and of arrays the first elements are compared."""
    if isinstance(one, dict) and isinstance(other, dict):
        one, other = ({name: inner for name, inner in value.items() if name not in OPEN} for value in (one, other))
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return not one or not other or alike(one[0], other[0])
    return one is None or other is None or kind_of(one) is kind_of(other)


def kind_of(value):
    return int if type(value) is float else type(value)


def parts_of(response):
    """The body's objects, of those that are alike in a row only the first."""
    kind, body = response.get("Content-Type") or "", response.body
    if kind.startswith("application/x-ndjson"):
        parts = response.lines()
    elif kind.startswith("text/event-stream"):
        parts = [dict(map(field_of, block.strip().split(b"\n"))) for block in body.split(b"\n\n")[:-1]]
    else:
        return [json.loads(body) if kind.startswith("application/json") and body else body, body[-1:] == b"\n"]
    return [part for before, part in zip([b"", *parts], parts) if not alike(before, part)]


def field_of(line):
    name, _, value = line.partition(b": ")
    return name, json.loads(value) if value.startswith(b"{") else value


def head_of(response):
    return response.first, sorted((name.lower(), value) for name, value in response.headers
                                  if name.lower() not in ("date", "content-length"))


@pytest.mark.parametrize("name", NAMES)
def test_the_scripted_node_answers_in_the_recorded_shape(the_node, name):
    request = RECORDED[name]["request"]
    body = request["body"].encode() if request["method"] in ("POST", "DELETE") else None
    with HttpClient(("127.0.0.1", the_node.port)) as client:
        client.request(request["method"], request["path"], body)
        scripted = client.response()
    real = recorded_response(name)
    assert head_of(scripted) == head_of(real)
    ours, theirs = parts_of(scripted), parts_of(real)
    assert len(ours) == len(theirs) and all(map(alike, ours, theirs)), (ours, theirs)
