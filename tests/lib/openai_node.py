# SPDX-License-Identifier: Apache-2.0
"""A node of kind openai: the answers of llama.cpp's server as they were recorded, byte for byte."""
import json
import pathlib

from node import CLOSE, Node

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "llamacpp"
MODEL = "gemma3:270m"


def recorded(name):
    """The script of one recorded exchange; llama.cpp closes behind its errors."""
    data = json.loads((FIXTURES / f"{name}.json").read_text())["response"].encode()
    return [data, CLOSE] if b"Connection: close" in data.split(b"\r\n\r\n")[0] else [data]


def payload(name):
    """The body of a recorded exchange, without its framing."""
    head, body = recorded(name)[0].split(b"\r\n\r\n", 1)
    if b"Transfer-Encoding: chunked" not in head:
        return body
    whole = b""
    while body:
        size, body = body.split(b"\r\n", 1)
        whole, body = whole + body[:int(size, 16)], body[int(size, 16) + 2:]
    return whole


class OpenaiNode(Node):
    def answers_of(self, request):
        method, path = request.method, request.path
        if method == "GET" and path in ("/health", "/v1/models", "/props", "/slots"):
            return recorded(path.rsplit("/", 1)[1])
        if method != "POST" or path not in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings",
                                            "/v1/messages", "/v1/responses"):
            return recorded("not-found")
        body = request.json()
        name = {"/v1/chat/completions": "chat"}.get(path, path.rsplit("/", 1)[1])
        if path == "/v1/embeddings":
            return recorded("embeddings-two-base64" if isinstance(body["input"], list) else "embeddings")
        if body.get("stream"):
            name += "-stream"
            name += "-usage" if body.get("stream_options", {}).get("include_usage") else ""
        return recorded(name)
