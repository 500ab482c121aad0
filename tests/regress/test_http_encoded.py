# SPDX-License-Identifier: Apache-2.0
"""Requests whose body the gateway cannot read, to a node that needs them translated."""
import gzip
import json

from gateway import Gateway
from http_bytes import ask
from openai_node import MODEL, OpenaiNode

BODY = json.dumps({"model": MODEL, "prompt": "hi", "stream": False}).encode()
CORS = [b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Methods: GET, POST\r\nContent-Length: 0\r\n\r\n"]


def test_an_encoded_body_is_refused_by_name_and_identity_is_none():
    with OpenaiNode() as node, Gateway(node) as gateway:
        response = ask(gateway.http, "POST", "/api/generate", gzip.compress(BODY), [("Content-Encoding", "gzip")])
        assert response.status == 400 and "Content-Encoding" in response.json()["error"]
        assert not node.requests
        response = ask(gateway.http, "POST", "/api/generate", BODY, [("Content-Encoding", "identity")])
        assert response.status == 200 and response.json()["response"]


def test_options_are_the_nodes_business_also_where_its_answers_are_translated():
    with OpenaiNode() as node, Gateway(node) as gateway:
        for path in ("/api/chat", "/api/tags", "/api/blobs/sha256:a1", "/v1/chat/completions"):
            node.next(path, CORS)
            response = ask(gateway.http, "OPTIONS", path, headers=[("Access-Control-Request-Method", "POST")])
            assert response.status == 200 and response.get("Access-Control-Allow-Methods") == "GET, POST"
            assert node.of(path)[-1].method == "OPTIONS"
