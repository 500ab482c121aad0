# SPDX-License-Identifier: Apache-2.0
"""One answer of /v1 from a real engine (llama.cpp's server): through the gateway, which asks for a stream and puts it
together, it is what the engine itself gives."""
import pytest

from engine import MODEL, Engine
from gateway import Gateway
from http_bytes import ask
from pairs import PAIRS, lasting, requests


@pytest.fixture(scope="module")
def talking():
    """An engine whose template has thinking and tool calls."""
    engine = Engine(parallel=1, embeddings=False, tools=True)
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def gateway_of(engine, talking):
    with Gateway(engine) as plain, Gateway(talking) as tools:
        yield {engine: plain, talking: tools}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_one_answer_is_what_the_engine_gives(engine, talking, gateway_of, name):
    path, more = PAIRS[name]
    body = {"model": MODEL, "temperature": 0, "seed": 1, **more}
    one = talking if name in requests.TALKING else engine
    through, direct = (ask(address, "POST", path, body)
                       for address in (gateway_of[one].http, ("127.0.0.1", one.port)))
    assert (through.status, through.framing, through.complete) == (direct.status, direct.framing, True)
    assert lasting(through.json()) == lasting(direct.json())
    own = {"keep-alive", "date", "x-request-id"}
    assert through.names() - own == direct.names() - own


WRONG = [("/v1/chat/completions", {"messages": "x"}), ("/v1/completions", {"prompt": "a", "max_tokens": "x"}),
         ("/v1/completions", {}), ("/v1/messages", {"max_tokens": 4}), ("/v1/responses", {}),
         ("/v1/chat/completions", {"messages": [], "top_logprobs": 1})]


@pytest.mark.parametrize("path, more", WRONG, ids=str)
def test_what_is_wrong_is_said_in_the_engines_words(engine, gateway_of, path, more):
    through, direct = (ask(address, "POST", path, {"model": MODEL, **more})
                       for address in (gateway_of[engine].http, ("127.0.0.1", engine.port)))
    assert (through.status, through.json()) == (direct.status, direct.json()) and direct.status >= 400


def test_logprobs_are_all_there(talking, gateway_of):
    path, more = PAIRS["chat-thinking"]
    body = {"model": MODEL, "temperature": 0, "seed": 1, "logprobs": True, "top_logprobs": 2, **more}
    through, direct = (ask(address, "POST", path, body).json()["choices"][0]["logprobs"]["content"]
                       for address in (gateway_of[talking].http, ("127.0.0.1", talking.port)))
    assert [one["token"] for one in through] == [one["token"] for one in direct] and len(direct) > 10
