# SPDX-License-Identifier: Apache-2.0
"""libmcp, by the commands that use it, with a gateway that agrees to all there is to be negotiated."""
import json
import re
import subprocess

import pytest

from cli import BIN, environment, run
from gateway import Gateway
from http_bytes import DEADLINE_S, wait_until
from node import HANG, Gate, answer, ndjson
from ollama_node import OllamaNode, chat_parts, generate_parts
from terminal import Terminal

TEXTS = ["%05d " % i + "x" * 1000 for i in range(1000)]  # 1 MB, four windows
CHUNKS_IN, CHUNKS_OUT = 'mcpgate_mcp_chunks_total{direction="in"}', 'mcpgate_mcp_chunks_total{direction="out"}'
CANCELLED = 'mcpgate_mcp_cancels_total{result="done"}'


def host(gateway):
    return {"MCPGATE_HOST": "%s:%d" % gateway.mcp}


def good(gateway, *args, **options):
    result = run(*args, **options, **host(gateway))
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_everything_is_agreed_on(gateway):
    agreed = gateway.metric('mcpgate_mcp_negotiations_total{result="agreed"}')
    result = run("ping", "-v", "-c1", **host(gateway))
    assert result.returncode == 0
    assert re.fullmatch(rf"connected to {host(gateway)['MCPGATE_HOST']}: mcpgate/[\d.]+, connection \d+, "
                        "json ack cancel credit crc32c goaway chunk\n", result.stderr)
    assert gateway.metric('mcpgate_mcp_negotiations_total{result="agreed"}') == agreed + 1


def test_acks_say_which_node(gateway, node):
    result = run("generate", "-v", "-m", "m", "hi", **host(gateway))
    assert result.returncode == 0
    assert re.search(r"^running on \S+\n", result.stderr, re.M)


def test_a_long_stream_needs_credit_and_gets_it(gateway, node):
    node.next("/api/generate", ndjson(*generate_parts("m", TEXTS)))
    assert good(gateway, "generate", "-m", "m", "hi") == "".join(TEXTS) + "\n"


def test_a_part_larger_than_the_window(gateway, node):
    before = gateway.metric(CHUNKS_OUT)
    text = "long " * 1000000
    node.next("/api/generate", ndjson(*generate_parts("m", ["a", text, "b"])))
    assert good(gateway, "generate", "-m", "m", "hi") == "a" + text + "b\n"
    assert gateway.metric(CHUNKS_OUT) - before >= len(text) // 65536


def test_a_request_larger_than_a_frame(gateway, node):
    before = gateway.metric(CHUNKS_IN)
    prompt = "word " * (4 << 20)  # 20 MiB
    assert good(gateway, "generate", "-m", "m", stdin=prompt) == "The quick \u4f60\u597d \N{FOX FACE}.\n"
    assert node.wait_request("/api/generate").json()["prompt"] == prompt
    assert gateway.metric(CHUNKS_IN) - before >= len(prompt) // 65536


def test_many_at_once(gateway, node):
    for _ in range(8):
        node.next("/api/generate", ndjson(*generate_parts("m", TEXTS)))
    users = [subprocess.Popen([BIN, "generate", "-m", "m", "hi"], env=environment(**host(gateway)), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(8)]
    for user in users:
        out, _ = user.communicate(timeout=DEADLINE_S)
        assert (user.returncode, out) == (0, "".join(TEXTS) + "\n")


def test_ctrl_c_in_chat_cancels_and_the_connection_stays(gateway, node, tmp_path):
    gate = Gate()
    node.next("/api/chat", ndjson(*chat_parts("m", ["one", "two"])[:2], gate, HANG))
    connections = gateway.metric('mcpgate_connections_total{face="mcp"}')
    cancelled = gateway.metric(CANCELLED)
    env = environment(HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path), NO_COLOR="1", **host(gateway) | {"TERM": "dumb"})
    with Terminal([BIN, "chat", "-m", "m"], env) as chat:
        chat.expect(">>> ")
        chat.type("hi\n")
        chat.expect("onetwo")
        gate.wait_reached()
        chat.type("\x03")
        chat.expect(">>> ")
        wait_until(lambda: gateway.metric("mcpgate_exchanges_running") == 0, "the exchange has ended")
        chat.type("again\n")
        chat.expect("The quick")
        chat.expect(">>> ")
        chat.type("\x04")
        assert chat.wait() == 0
    assert gateway.metric(CANCELLED) == cancelled + 1
    assert gateway.metric('mcpgate_connections_total{face="mcp"}') == connections + 1


def test_a_wrong_key_is_refused_before_anything_is_sent(node):
    with Gateway(node, config={"keys": [{"name": "a", "key": "right-key-right-key"}]}) as gateway:
        result = run("generate", "-m", "m", "hi", MCPGATE_KEY="wrong", **host(gateway))
        assert result.returncode == 1 and result.stderr.startswith("mcpgate: unauthorized: ")
        assert gateway.metrics()['mcpgate_mcp_negotiations_total{result="refused"}'] == 1
        assert run("generate", "-m", "m", "hi", **host(gateway)).stderr.startswith("mcpgate: unauthorized: ")
        assert good(gateway, "generate", "-m", "m", "hi", MCPGATE_KEY="right-key-right-key") != ""


def test_an_answer_under_way_ends_well_while_the_gateway_drains():
    gate = Gate()
    with OllamaNode("m:latest") as node, Gateway(node) as gateway:
        node.next("/api/generate", ndjson(*generate_parts("m", ["a", "b"])[:1], gate, *generate_parts("m", ["b"])))
        with subprocess.Popen([BIN, "generate", "-m", "m", "hi"], env=environment(**host(gateway)), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as user:
            gate.wait_reached()
            gateway.terminate()
            wait_until(lambda: gateway.ready_status() == 503, "it drains")
            gate.open()
            assert user.communicate(timeout=DEADLINE_S)[0] == "ab\n"
            assert user.returncode == 0
        gateway.wait_exit()


@pytest.mark.parametrize("text", ["", "x" * 70000])
def test_embeddings_larger_than_a_piece(gateway, node, text):
    vector = [0.5] * 30000
    node.next("/api/embed", answer({"model": "m", "embeddings": [vector], "total_duration": 1, "load_duration": 1,
                                    "prompt_eval_count": 1}))
    assert json.loads(good(gateway, "embed", "-m", "m", text + "y")) == vector
