# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients, a gateway that wants keys, and a scripted node on which all that arrives is seen: a right key,
a wrong one, and a stream that the node breaks off."""
import json

import anthropic
import ollama
import openai
import pytest

from clients import MESSAGES, curl, curl_post, environment, npm  # noqa: F401  (a fixture)
from engine_asks import COUNT, MODEL, TOKENS, body_of, text_of_part
from node import CLOSE, ndjson, sse
from ollama_node import TOKENS as NODE_TOKENS
from ollama_node import anthropic_events, chat_parts, generate_parts, openai_chat_events, responses_events

KEY, WRONG = "k-right-3b1f9a", "k-wrong-77aa01"
MODELS = [MODEL]
CONFIG = {"keys": [{"name": "alice", "key": KEY}]}


class Refused(Exception):
    """What the client says where the gateway refuses its key."""


class Cut(Exception):
    """What the client says where a stream was cut."""


def ask_curl(url, key, header="Authorization: Bearer "):
    status, out = curl_post(url, "/api/generate", body_of("/api/generate"), "-H", header + key,
                            "-b", "session=" + key, "-w", "%{http_code}")
    assert status == 0
    lines = [json.loads(line) for line in out[:-3].splitlines()]
    if out.endswith("401"):
        raise Refused(lines[0]["error"])
    if "error" in lines[-1]:
        raise Cut(lines[-1]["error"])
    return "".join(map(text_of_part, lines))


def ask_curl_x_api_key(url, key):
    return ask_curl(url, key, "x-api-key: ")


def ask_ollama(url, key):
    client = ollama.Client(url, headers={"Authorization": f"Bearer {key}"})
    try:
        return "".join(part.response for part in client.generate(MODEL, COUNT, stream=True))
    except ollama.ResponseError as error:
        raise (Refused if error.status_code == 401 else Cut)(error.error) from None


def ask_openai(url, key):
    with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
        try:
            stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            return "".join(chunk.choices[0].delta.content for chunk in stream)
        except openai.AuthenticationError as error:
            raise Refused(error.body["message"]) from None
        except openai.APIError as error:
            raise Cut(error.message) from None


def ask_openai_responses(url, key):
    with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
        try:
            events = client.responses.create(model=MODEL, input=COUNT, stream=True)
            return "".join(event.delta for event in events if event.type == "response.output_text.delta")
        except openai.AuthenticationError as error:
            raise Refused(error.body["message"]) from None
        except openai.APIError as error:
            raise Cut(error.message) from None


def ask_anthropic(url, **auth):
    with anthropic.Anthropic(base_url=url, max_retries=0, **auth) as client:
        try:
            with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=TOKENS) as stream:
                return "".join(stream.text_stream)
        except anthropic.AuthenticationError as error:
            raise Refused(error.body["error"]["message"]) from None
        except anthropic.APIError as error:
            raise Cut(error.body["error"]["message"]) from None


def ask_npm(url, key):
    values = npm(url, "chatStream", key=key)
    raised = values[-1]
    if "raised" in raised:
        raise (Refused if raised.get("status") == 401 else Cut)(raised["text"])
    return "".join(map(text_of_part, values))


ASKERS = {"curl": ask_curl, "curl, x-api-key": ask_curl_x_api_key, "ollama": ask_ollama, "openai": ask_openai,
          "openai, responses": ask_openai_responses,
          "anthropic": lambda url, key: ask_anthropic(url, api_key=key),
          "anthropic, bearer": lambda url, key: ask_anthropic(url, auth_token=key), "npm ollama": ask_npm}


@pytest.mark.parametrize("name", ASKERS)
def test_the_right_key_serves_and_never_reaches_the_node(gateway, node, name):
    assert ASKERS[name](gateway.url, KEY) == "".join(NODE_TOKENS)
    (request,) = node.requests
    assert not request.names() & {"authorization", "x-api-key", "cookie", "proxy-authorization"}
    assert KEY.encode() not in request.raw + request.body
    gateway.wait_idle()
    assert (gateway.access()[-1]["code"], gateway.access()[-1]["key"]) == ("ok", "alice")
    assert KEY not in gateway.errors() + json.dumps(gateway.access())


@pytest.mark.parametrize("name", ASKERS)
def test_a_wrong_key_is_refused_and_nothing_reaches_the_node(gateway, node, name):
    with pytest.raises(Refused, match="the API key is not valid"):
        ASKERS[name](gateway.url, WRONG)
    assert node.requests == []


def test_no_key_is_refused_in_each_shape(gateway, node):
    for path in ("/api/tags", "/v1/models", "/v1/messages"):
        args = ["-d", "{}"] if path == "/v1/messages" else []
        status, out = curl(*args, "-w", "%{http_code}", gateway.url + path)
        error = json.loads(out[:-3])["error"]
        text = error if path == "/api/tags" else error["message"]
        assert (status, out[-3:], text) == (0, "401", "an API key is required")
    assert node.requests == []


STREAMS = {"/api/generate": ndjson(*generate_parts(MODEL)[:2]), "/api/chat": ndjson(*chat_parts(MODEL)[:2]),
           "/v1/chat/completions": sse(*openai_chat_events(MODEL)[:2]),
           "/v1/messages": sse(*anthropic_events(MODEL)[:4]), "/v1/responses": sse(*responses_events(MODEL)[:2])}
PATHS = {"curl": "/api/generate", "ollama": "/api/generate", "openai": "/v1/chat/completions",
         "openai, responses": "/v1/responses", "anthropic": "/v1/messages", "npm ollama": "/api/chat"}


@pytest.mark.parametrize("name", PATHS)
def test_a_stream_that_the_node_does_not_end_is_an_error_to_the_client(gateway, node, name):
    node.next(PATHS[name], STREAMS[PATHS[name]])  # whole as HTTP, but without its last part
    with pytest.raises(Cut, match="the node ended its stream without saying so"):
        ASKERS[name](gateway.url, KEY)
    node.next(PATHS[name], STREAMS[PATHS[name]][:-1] + [CLOSE])
    with pytest.raises(Cut, match="closed the connection within its answer"):
        ASKERS[name](gateway.url, KEY)
