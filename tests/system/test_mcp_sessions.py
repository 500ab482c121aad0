# SPDX-License-Identifier: Apache-2.0
"""Sessions (protocol.md section 2): what is inherited, the node that is preferred, one exchange at a time, many
at once, and how they are forgotten."""
import pytest

from gateway import Gateway
from http_bytes import wait_until
from mcp_client import McpClient
from node import HANG, Gate, ndjson, pause
from ollama_node import OllamaNode, generate_parts

MODELS = ["llama3:8b", "m:latest"]


def sent_to(node, path="/api/generate", count=1):
    return node.wait_request(path, count).json()


# --- inheritance ----------------------------------------------------------------------------------
def test_a_session_inherits_the_model_as_the_client_wrote_it(mcp, node):
    mcp.ask({"model": "m", "prompt": "a"})
    mcp.ask({"prompt": "b"})
    assert sent_to(node, count=2) == {"model": "m", "prompt": "b"}
    mcp.ask({"messages": [{"role": "user", "content": "c"}]})
    assert sent_to(node, "/api/chat")["model"] == "m"
    mcp.ask({"input": "d"}, single=True)
    assert sent_to(node, "/api/embed") == {"model": "m", "input": "d"}


def test_a_new_model_takes_the_place_of_the_inherited_one(mcp, node):
    for body in ({"model": "m", "prompt": "a"}, {"model": "llama3:8b", "prompt": "b"}, {"prompt": "c"}):
        mcp.ask(body)
    assert sent_to(node, count=3)["model"] == "llama3:8b"


def test_sessions_and_connections_inherit_nothing_from_each_other(gateway, mcp):
    mcp.ask({"model": "m", "prompt": "a"}, session=1)
    assert mcp.error({"prompt": "b"}, session=2)[0] == "bad_request"
    with McpClient(gateway.mcp) as other:
        assert other.error({"prompt": "b"}, session=1)[0] == "bad_request"


def test_options_are_inherited_only_with_continue(mcp, node):
    options = {"temperature": 0.5, "seed": 42}
    mcp.ask({"model": "m", "prompt": "a", "options": options})
    mcp.ask({"prompt": "b"})
    assert "options" not in sent_to(node, count=2)
    mcp.ask({"prompt": "c", "mcp": {"continue": True}})
    assert sent_to(node, count=3) == {"model": "m", "prompt": "c", "options": options}


def test_own_options_are_not_mixed_with_inherited_ones(mcp, node):
    mcp.ask({"model": "m", "prompt": "a", "options": {"temperature": 0.5}})
    mcp.ask({"prompt": "b", "options": {"seed": 1}, "mcp": {"continue": True}})
    assert sent_to(node, count=2)["options"] == {"seed": 1}


def test_the_deadline_is_inherited_only_with_continue(mcp, node):
    mcp.ask({"model": "m", "prompt": "a", "mcp": {"deadline_ms": 1500}})
    node.next("/api/generate", [pause(1.6), *ndjson(*generate_parts("m"))], [HANG])
    assert "code" not in mcp.ask({"prompt": "b"})[-1]
    assert mcp.error({"prompt": "c", "mcp": {"continue": True}})[0] == "deadline_exceeded"


def test_other_operations_inherit_and_set_nothing(mcp, node):
    mcp.ask({"model": "m", "prompt": "a"})
    assert mcp.error({"mcp": {"op": "show"}})[0] == "bad_request"
    mcp.ask({"model": "llama3:8b", "mcp": {"op": "show"}}, single=True)
    mcp.ask({"mcp": {"op": "list"}}, single=True)
    mcp.ask({"prompt": "b"})
    assert sent_to(node, count=2)["model"] == "m"


def test_a_refused_request_sets_nothing(mcp, node):
    assert mcp.error({"model": "none", "prompt": "a"})[0] == "unknown_model"
    assert mcp.error({"prompt": "b"})[0] == "bad_request"
    mcp.ask({"model": "m", "prompt": "c"})
    assert mcp.error({"model": "none", "prompt": "d"})[0] == "unknown_model"
    mcp.ask({"prompt": "e"})
    assert sent_to(node, count=2)["model"] == "m"


def test_the_mcp_member_never_reaches_the_node(mcp, node):
    mcp.ask(b'{"model":"m","mcp":{"tags":{"team":"x"},"priority":"batch","auth":"secret"} , "prompt":"a"}')
    assert b"secret" not in node.wait_request("/api/generate").body
    assert sent_to(node) == {"model": "m", "prompt": "a"}


def test_everything_else_reaches_the_node_byte_for_byte(mcp, node):
    body = b'{ "prompt":"\\u00e9\\ud83e\\udd8a", "z":1.0e+02,"options":{"seed":00012345678901234567890} ,"model" : "m"}'
    body = body.replace(b"000123", b"123")
    mcp.ask(body)
    assert node.wait_request("/api/generate").body == body


# --- the preferred node ---------------------------------------------------------------------------
@pytest.fixture
def two_nodes():
    with OllamaNode("both:latest") as first, OllamaNode("both:latest", "second:latest") as second:
        with Gateway(first, second) as gateway, McpClient(gateway.mcp) as client:
            yield first, second, client


def test_a_session_stays_with_the_node_that_served_it_last(two_nodes):
    first, second, client = two_nodes
    client.ask({"model": "second", "prompt": "a"}, session=1)
    for prompt in "bcdef":  # the other node has less to do, and has had less
        client.ask({"model": "both", "prompt": prompt}, session=1)
    assert [r.json()["prompt"] for r in second.of("/api/generate")] == list("abcdef")
    client.ask({"model": "both", "prompt": "g"}, session=2)
    assert [r.json()["prompt"] for r in first.of("/api/generate")] == ["g"]


def test_the_preference_is_no_rule(two_nodes):
    first, second, client = two_nodes
    client.ask({"model": "second", "prompt": "a"})
    second.stop()
    assert client.ask({"model": "both", "prompt": "b"})[-1]["done"] is True
    assert first.of("/api/generate")[0].json()["prompt"] == "b"


# --- one exchange at a time, many at once ---------------------------------------------------------
def test_a_busy_session_refuses_and_its_exchange_runs_on(mcp, node):
    gate, parts = Gate(), generate_parts("m")
    node.next("/api/generate", ndjson(*parts[:1], gate, *parts[1:]))
    mcp.request(1, {"model": "m", "prompt": "a"})
    assert mcp.frame().json() == parts[0]
    mcp.request(1, {"model": "m", "prompt": "b"})
    refusal = mcp.frame()
    assert (refusal.session, refusal.error()[0]) == (0, "session_busy")
    assert refusal.json()["session"] == 1 and refusal.json()["retryable"] is True
    gate.open()
    assert [frame.json() for frame in mcp.parts()] == parts[1:]
    assert len(node.of("/api/generate")) == 1


def test_a_refused_request_on_a_busy_session_sets_nothing(mcp, node):
    gate = Gate()
    node.next("/api/generate", ndjson(gate, *generate_parts("m")))
    mcp.request(1, {"model": "m", "prompt": "a"})
    gate.wait_reached()
    mcp.request(1, {"model": "llama3:8b", "prompt": "b"})
    assert mcp.frame(0).error()[0] == "session_busy"
    gate.open()
    mcp.parts()
    mcp.ask({"prompt": "c"})
    assert sent_to(node, count=2)["model"] == "m"


def test_a_session_is_free_as_soon_as_its_last_part_is_there(mcp):
    for _ in range(50):
        assert mcp.ask({"model": "m", "prompt": "a"})[-1]["done"] is True


def test_parts_of_sessions_interleave_as_the_node_makes_them(mcp, node):
    gates = [[Gate() for _ in range(2)] for _ in range(3)]
    parts = generate_parts("m")[:2] + generate_parts("m")[-1:]
    for first, second in gates:
        node.next("/api/generate", ndjson(parts[0], first, parts[1], second, parts[2]))
    for session in range(3):
        mcp.request(session + 1, {"model": "m", "prompt": "a"})
        frame = mcp.frame()
        assert (frame.session, frame.json()) == (session + 1, parts[0])
    for turn in range(2):
        for session in (2, 0, 1):
            gates[session][turn].open()
            frame = mcp.frame()
            assert (frame.session, frame.json()) == (session + 1, parts[turn + 1])


def test_three_hundred_sessions_run_at_once_on_one_connection(mcp, node):
    """Each gets its own parts, in their order."""
    gate = Gate()
    node.always("/api/generate", lambda request: ndjson(*own_parts(request, gate)))
    for session in range(1, 301):
        mcp.request(session, {"model": "m", "prompt": f"p{session}"})
    wait_until(lambda: len(node.of("/api/generate")) == 300, "all requests are at the node")
    gate.open()
    for session in range(1, 301):
        texts = [frame.json()["response"] for frame in mcp.parts(session)]
        assert texts == [f"p{session} {i}" for i in range(5)] + [""]


def own_parts(request, gate):
    prompt = request.json()["prompt"]
    parts = generate_parts("m", [f"{prompt} {i}" for i in range(5)])
    return [*parts[:2], gate, *parts[2:]]


# --- limits ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def small():
    limits = {"limits": {"max_sessions": 2, "sessions_remembered": 2}}
    with OllamaNode("m:latest") as node, Gateway(node, config=limits) as gateway:
        yield node, gateway


def test_more_sessions_in_flight_than_allowed_are_refused(small):
    node, gateway = small
    gate = Gate()
    node.next("/api/generate", *[ndjson(gate, *generate_parts("m"))] * 2)
    with McpClient(gateway.mcp) as client:
        client.request(1, {"model": "m", "prompt": "a"})
        client.request(2, {"model": "m", "prompt": "b"})
        client.request(3, {"model": "m", "prompt": "c"})
        refusal = client.frame()
        assert (refusal.session, refusal.error()[0]) == (3, "queue_full")
        assert refusal.json()["retryable"] is True and refusal.json()["done"] is True
        gate.open()
        client.parts(1), client.parts(2)
        assert client.ask({"model": "m", "prompt": "d"}, session=3)[-1]["done"] is True


def test_an_idle_session_is_forgotten():
    with OllamaNode() as node, Gateway(node, config={"timeouts": {"session_idle": "300ms"}}) as gateway:
        with McpClient(gateway.mcp) as client:
            client.ask({"model": "m", "prompt": "a"})
            gateway.wait_metric('mcpgate_sessions_forgotten_total{reason="idle"}', 1)
            assert client.error({"prompt": "b"})[0] == "bad_request"


def test_the_oldest_idle_session_makes_room(small):
    node, gateway = small
    with McpClient(gateway.mcp) as client:
        for session in (1, 2, 3):
            client.ask({"model": "m", "prompt": "a"}, session=session)
        assert client.error({"prompt": "b"}, session=1)[0] == "bad_request"
        assert gateway.metric('mcpgate_sessions_forgotten_total{reason="limit"}') >= 1
