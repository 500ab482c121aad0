# SPDX-License-Identifier: Apache-2.0
"""The commands of mcpgate that talk to a gateway, against a scripted MCP server."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

import pytest

from cli import BIN, MODELS, answers, bad, environment, good, run, says
from http_bytes import DEADLINE_S
from mcp_server import McpServer
from terminal import Terminal

CLIENTS = ["generate", "chat", "embed", "list", "ps", "show", "pull", "create", "cp", "rm", "ping", "nodes", "version"]
COMMANDS = ["serve", "check-config", "import", "sim", "sim-cluster", "plan", *CLIENTS[:-1], "queue", "sessions", "record", "node",
            "canary", "version", "why", "decode", "completion", "manual"]
NUMBERS = {"total_duration": 4648158209, "load_duration": 71084875, "prompt_eval_count": 26,
           "prompt_eval_duration": 109779333, "eval_count": 31, "eval_duration": 467061458}


# --- help and usage ---------------------------------------------------------------------------------

def test_help_lists_commands_and_exit_statuses():
    text = good("--help")
    assert re.findall(r"^  ([a-z-]+) +\S", text, re.M) == COMMANDS
    page = pathlib.Path("docs/cli.md").read_text()
    rows = re.findall(r"^  (\d+) +(.+)$", text, re.M)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "130"]
    for number, meaning in rows:
        assert f"| {number} | {meaning} |\n" in page
    assert run().returncode == 2
    assert run().stderr == text
    assert good("-h") == good("help") == text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_page(command):
    text = good(command, "--help")
    assert text.startswith(f"Usage: mcpgate {command} ")
    assert good(command, "-h") == good("help", command) == text
    page = pathlib.Path("docs/cli.md").read_text()
    assert f"`{command}`" in page or f"`mcpgate {command}" in page
    options = set(re.findall(r"--([a-z-]+)", text)) - {"help", "usage"}
    for option in options:
        assert f"`--{option}" in page, option
    if command in CLIENTS:
        assert {"host", "key", "json"} <= options


def test_version_option():
    assert re.fullmatch(r"mcpgate \d+\.\d+\.\d+\n", good("--version"))


@pytest.mark.parametrize("name,guess", [("lst", "list"), ("generte", "generate"), ("sevre", "serve"),
                                        ("check_config", "check-config"), ("nodse", "nodes")])
def test_unknown_command_with_a_suggestion(name, guess):
    assert bad(2, name) == f"mcpgate: no command '{name}'; did you mean '{guess}'?"


@pytest.mark.parametrize("name", ["frobnicate", "", "x" * 1000, "--frob"])
def test_unknown_command_without_one(name):
    assert bad(2, name) == f"mcpgate: no command '{name}'; see mcpgate --help"


@pytest.mark.parametrize("args", [
    ("list", "--frob"), ("list", "extra"), ("chat", "extra"), ("show",), ("show", "a", "b"),
    ("generate", "-o", "novalue", "x"), ("generate", "-o", "=1", "x"), ("generate", "-n", "-1", "x"),
    ("generate", "-n", "12x", "x"), ("ping", "-c", "0"), ("ping", "-i", "soon"), ("ping", "-i", "-1"),
    ("list", "--host", "a:b"), ("list", "--host", "unix:"), ("list", "--host", "127.0.0.1:0"),
    ("generate",), ("embed",), ("serve", "--node"), ("serve", "extra")])
def test_wrong_usage(args):
    if args in [("generate",), ("embed",)]:  # nothing on the terminal either
        with Terminal([BIN, *args], environment()) as terminal:
            terminal.expect("no text; give it as an argument or on standard input")
            assert terminal.wait() == 2
    else:
        assert "\n" not in bad(2, *args)


@pytest.mark.parametrize("args,line", [
    (("list", "--frob"), "mcpgate list: unrecognized option '--frob'"),
    (("list", "extra"), "mcpgate: expected no argument, not 'extra'; see mcpgate list --help"),
    (("ping", "-i", "x"), "mcpgate: --interval: expected seconds, such as 0.2, not 'x'; see mcpgate ping --help"),
    (("list", "--host", "a:b"), "mcpgate: --host: expected host:port, [v6]:port or unix:PATH, not 'a:b'")])
def test_wrong_usage_says_what_was_expected(args, line):
    assert bad(2, *args) == line


def test_wrong_address_in_the_environment():
    assert bad(2, "list", MCPGATE_HOST="http://a:1") == \
        "mcpgate: MCPGATE_HOST: expected host:port, [v6]:port or unix:PATH, not 'http://a:1'"


# --- nobody there -----------------------------------------------------------------------------------

@pytest.fixture(name="free_port", scope="module")
def bound_but_silent_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.mark.parametrize("command", CLIENTS)
def test_no_gateway(command, free_port):
    args = {"show": ["m"], "generate": ["x"], "embed": ["x"], "pull": ["m"], "create": ["n", "--from", "m"],
            "cp": ["m", "n"], "rm": ["m"]}.get(command, [])
    line = bad(4, command, *args, "--host", f"127.0.0.1:{free_port}", stdin="x\n")
    assert re.fullmatch(rf"mcpgate: no gateway there: .*127\.0\.0\.1:{free_port}.*Connection refused.*"
                        "; start it with: mcpgate serve", line)


def test_no_gateway_on_a_unix_socket(tmp_path):
    line = bad(4, "list", "--host", f"unix:{tmp_path}/none")
    assert line.endswith("; start it with: mcpgate serve") and "none" in line


def test_somebody_who_does_not_speak_mcp():
    """llama.cpp's server has the same default port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer():
            sock, _ = listener.accept()
            with sock:
                sock.recv(1 << 16)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        assert bad(4, "list", "--host", address).startswith(
            f"mcpgate: what answers at {address} does not speak MCP (")
        thread.join()


def test_somebody_who_says_nothing():
    """An answer may take long, that to HELLO may not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        assert bad(4, "list", "--host", address) == \
            f"mcpgate: what answers at {address} does not speak MCP (no answer to HELLO in 5000 ms)"


def test_somebody_who_closes():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        assert bad(4, "list", "--host", address).startswith(f"mcpgate: what answers at {address} does not speak MCP (")
        thread.join()


# --- generate ---------------------------------------------------------------------------------------

def test_generate_prints_each_part_as_it_comes():
    go_on = threading.Event()

    def answer(exchange):
        first, second, last = says("Hel", "lo")
        exchange.part(first)
        assert go_on.wait(DEADLINE_S)
        exchange.part(second)
        exchange.part(last)

    with McpServer(answer) as server:
        with subprocess.Popen([BIN, "generate", "-m", "m", "hi"], stdout=subprocess.PIPE,
                              env=environment(MCPGATE_HOST=server.address)) as process:
            assert os.read(process.stdout.fileno(), 100) == b"Hel"
            go_on.set()
            assert process.stdout.read() == b"lo\n"
            assert process.wait(DEADLINE_S) == 0
    assert server.requests == [{"model": "m", "prompt": "hi"}]


def test_generate_request():
    with McpServer(answers(*says("x\n"))) as server:
        out = good("generate", "two", "words", "--model", "m:1", "--raw", "--system", "be", "-n", "7",
                   "-o", "temperature=0.10", "-o", "stop=[\"a\",\"b\"]", "-o", "mirostat=true",
                   "-o", "text=a=b", "-o", "seed=1", "-o", "seed=2", server=server)
    assert out == "x\n"  # one line end is enough
    assert server.requests == [{
        "model": "m:1", "prompt": "two words", "raw": True, "system": "be",
        "options": {"num_predict": 7, "temperature": 0.1, "stop": ["a", "b"], "mirostat": True,
                    "text": "a=b", "seed": 2}}]


def test_generate_reads_standard_input():
    with McpServer(answers(*says("x"))) as server:
        good("generate", "-m", "m", server=server, stdin="\n  one\ntwo\n\n")
    assert server.requests[0]["prompt"] == "\n  one\ntwo\n"


def test_generate_takes_the_first_model_that_can():
    with McpServer(answers(*says("x"))) as server:
        good("generate", "hi", server=server)
    assert server.requests == [{"mcp": {"op": "list"}}, {"prompt": "hi", "model": "llama3:8b"}]


def test_generate_without_models():
    with McpServer(answers(list={"models": []})) as server:
        assert bad(1, "generate", "hi", server=server) == "mcpgate: no model: the nodes have none"


def test_generate_json_is_what_came():
    parts = says("ü", " \u0007") + []
    with McpServer(answers(*parts)) as server:
        out = good("generate", "-m", "m", "hi", "--json", server=server)
    assert [json.loads(line) for line in out.splitlines()] == parts


def test_generate_verbose():
    with McpServer(answers(*says("x")[:-1], {"done": True} | NUMBERS)) as server:
        result = run("generate", "-m", "m", "-v", "hi", server=server)
    assert result.stdout == "x\n"
    assert result.stderr == (f"connected to {server.address}: base profile\n"
                             "total duration:       4.648158209s\n"
                             "load duration:        71.084875ms\n"
                             "prompt eval count:    26 token(s)\n"
                             "prompt eval duration: 109.779333ms\n"
                             "prompt eval rate:     236.84 tokens/s\n"
                             "eval count:           31 token(s)\n"
                             "eval duration:        467.061458ms\n"
                             "eval rate:            66.37 tokens/s\n")


def test_generate_verbose_shows_where_it_stands():
    def answer(exchange):
        exchange.ack(state="queued", position=2, depth=5, eta_ms=300)
        exchange.ack(state="running", node="n1", attempt=1)
        exchange.ack(state="running", node="n2", attempt=2)
        exchange.part({"model": "m", "response": "x", "done": True})

    with McpServer(answer, offers=["ack", "cancel"]) as server:
        result = run("generate", "-m", "m", "-v", "hi", server=server)
        assert result.stdout == "x\n"
        assert result.stderr == (f"connected to {server.address}: a test, connection 1, json ack cancel\n"
                                 "queued, position 2, in about 300 ms\n"
                                 "running on n1\n"
                                 "running on n2, attempt 2\n")


def test_generate_sends_the_key():
    with McpServer(answers(*says("x"))) as server:
        good("generate", "-m", "m", "hi", server=server, MCPGATE_KEY="from-env")
        good("generate", "-m", "m", "hi", "--key", "given", server=server, MCPGATE_KEY="from-env")
    assert [request["mcp"] for request in server.requests] == [{"auth": "from-env"}, {"auth": "given"}]


def test_thinking_is_not_in_a_pipe():
    parts = [{"response": "", "thinking": "hmm", "done": False}, *says("so")]
    with McpServer(answers(*parts)) as server:
        assert good("generate", "-m", "m", "hi", server=server) == "so\n"


def test_generate_error():
    def refuse(exchange):
        exchange.error("unknown_model", "model 'x' not found")

    with McpServer(refuse) as server:
        assert bad(1, "generate", "-m", "x", "hi", server=server) == \
            "mcpgate: unknown_model: model 'x' not found; mcpgate list shows what there is"
        result = run("generate", "-m", "x", "hi", "--json", server=server)
        assert result.returncode == 1
        assert json.loads(result.stdout)["code"] == "unknown_model"


def test_generate_error_after_some_text():
    def break_off(exchange):
        exchange.part(says("some")[0])
        exchange.error("stream_interrupted", "the node's stream ended", retryable=True)

    with McpServer(break_off) as server:
        result = run("generate", "-m", "x", "hi", server=server)
    assert (result.returncode, result.stdout) == (1, "some\n")
    assert result.stderr == "mcpgate: stream_interrupted: the node's stream ended\n"


@pytest.mark.parametrize("code,more,ending", [
    ("unauthorized", {}, "no; give one with --key or MCPGATE_KEY"),
    ("queue_full", {"retry_after_ms": 1500}, "no; try again in 1500 ms")])
def test_errors_that_say_what_to_do(code, more, ending):
    with McpServer(lambda exchange: exchange.error(code, "no", **more)) as server:
        assert bad(1, "list", server=server) == f"mcpgate: {code}: {ending}"


def test_connection_lost_in_an_answer():
    def vanish(exchange):
        exchange.part(says("some")[0])
        exchange.connection.close()

    with McpServer(vanish) as server:
        result = run("generate", "-m", "x", "hi", server=server)
    assert (result.returncode, result.stdout) == (1, "some\n")
    assert result.stderr.startswith("mcpgate: connection_closed: ")


def test_generate_interrupted():
    gone = threading.Event()

    def answer(exchange):
        exchange.part(says("some")[0])
        exchange.wait_gone()
        gone.set()

    with McpServer(answer) as server:
        with subprocess.Popen([BIN, "generate", "-m", "m", "hi"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              env=environment(MCPGATE_HOST=server.address)) as process:
            assert os.read(process.stdout.fileno(), 100) == b"some"
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
            assert (process.stdout.read(), process.stderr.read()) == (b"\n", b"")
        assert gone.wait(DEADLINE_S)


def test_text_that_is_no_utf8():
    with McpServer() as server:
        result = subprocess.run([BIN, "generate", "-m", "m", b"\xff"], capture_output=True,
                                env=environment(MCPGATE_HOST=server.address), timeout=DEADLINE_S,
                                check=False)
    assert (result.returncode, result.stderr) == (2, b"mcpgate: the text is not UTF-8\n")


def test_full_disk():
    with McpServer(answers(*says("x"))) as server, open("/dev/full", "w", encoding="utf-8") as full:
        result = subprocess.run([BIN, "generate", "-m", "m", "hi"], stdout=full,
                                stderr=subprocess.PIPE, env=environment(MCPGATE_HOST=server.address),
                                timeout=DEADLINE_S, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1, "mcpgate: standard output: No space left on device\n")


# --- terminals --------------------------------------------------------------------------------------

def shown(*args, server, **env):
    with Terminal([BIN, *args], environment(MCPGATE_HOST=server.address, **env)) as terminal:
        terminal.wait()
        return terminal.seen


HEALTH = {"status": "ok", "version": "9.9", "nodes": [
    {"name": "a", "up": True, "state": "up", "kind": "ollama", "models": ["m", "n"], "error": ""},
    {"name": "bcde", "up": False, "state": "down", "kind": "unknown", "models": [], "error": "Connection refused"}]}


def test_colour_on_a_terminal_alone():
    with McpServer(answers(health=HEALTH)) as server:
        assert "\x1b[32mok\x1b[0m" in shown("nodes", server=server)
        assert "\x1b" not in shown("nodes", server=server, NO_COLOR="1")
        assert "\x1b" not in shown("nodes", server=server, TERM="dumb")
        assert "\x1b" not in good("nodes", server=server)
        assert shown("frob", server=server).startswith("\x1b[31mmcpgate: \x1b[0mno command")


def test_thinking_is_dim_on_a_terminal():
    parts = [{"response": "", "thinking": "hm", "done": False},
             {"response": "", "thinking": "m", "done": False}, *says("so")]
    with McpServer(answers(*parts)) as server:
        assert shown("generate", "-m", "m", "hi", server=server) == "\x1b[2mhmm\x1b[0m\n\nso\n"


def test_the_network_cannot_steer_a_terminal():
    evil = "a\x1b]0;x\x07b\rc\u009bd\x7f\té\n"
    with McpServer(answers(*says(evil))) as server:
        assert shown("generate", "-m", "m", "hi", server=server) == \
            "a\ufffd]0;x\ufffdb\ufffdc\ufffdd\ufffd\té\n"
        assert run("generate", "-m", "m", "hi", server=server).stdout.encode() == \
            evil.replace("\r", "\n").encode()  # text mode; the bytes are as they were
    with McpServer(lambda exchange: exchange.error("internal", evil)) as server:
        assert "\x1b]" not in shown("list", server=server)


# --- the other commands -----------------------------------------------------------------------------

def test_embed():
    vectors = '{"embeddings":[[0.10,-2,3e-05],[1.0000000000000001]]}'

    def answer(exchange):
        exchange.connection.send(bytes([1, 2]) + exchange.session.to_bytes(4, "big") +
                                 len(vectors).to_bytes(4, "big") + vectors.encode())

    with McpServer(answer) as server:
        assert good("embed", "-m", "m", "one", "two", server=server) == \
            "[0.10,-2,3e-05]\n[1.0000000000000001]\n"
        assert good("embed", "-m", "m", "--json", server=server, stdin="one\n\nthree") == vectors + "\n"
        bad(2, "embed", "-m", "m", server=server, stdin="")
    assert server.requests == [{"input": ["one", "two"], "model": "m"},
                               {"input": ["one", "", "three"], "model": "m"}]


def test_embed_takes_a_model_for_it():
    with McpServer(answers({"embeddings": []})) as server:
        good("embed", "one", server=server)
    assert server.requests[1]["model"] == "bert:latest"
    others = {"models": [MODELS["models"][1]]}
    with McpServer(answers({"embeddings": []}, list=others)) as server:
        good("embed", "one", server=server)  # nodes do not know all their models can do
    assert server.requests[1]["model"] == "llama3:8b"


def test_embed_says_which_model_it_took_when_that_cannot():
    others = {"models": [MODELS["models"][1]]}
    handlers = answers(list=others)

    def refuse(exchange):
        if "op" in exchange.request.get("mcp", {}):
            handlers(exchange)
        else:
            exchange.error("upstream_error", "this model does not support embeddings")

    with McpServer(refuse) as server:
        assert bad(1, "embed", "one", server=server) == (
            "mcpgate: upstream_error: this model does not support embeddings; "
            "'llama3:8b' was a guess, -m names a model that can")
        assert bad(1, "embed", "-m", "x", "one", server=server) == (
            "mcpgate: upstream_error: this model does not support embeddings")


def test_list():
    with McpServer(answers()) as server:
        out = good("list", server=server)
        assert json.loads(good("list", "--json", server=server)) == MODELS
    assert re.sub(r"\d+ years", "N years", out) == (
        "NAME           ID              SIZE      MODIFIED\n"
        "bert:latest    cccccccccccc    45 MB     N years ago\n"
        "llama3:8b      365c0bd3c000    4.7 GB    N years ago\n")


def test_list_of_models_without_numbers():
    with McpServer(answers(list={"models": [{"name": "gemma3:270m"}]})) as server:
        assert good("list", server=server) == ("NAME           ID    SIZE    MODIFIED\n"
                                               "gemma3:270m          -       Never\n")


def test_ps():
    model = MODELS["models"][1] | {"context_length": 4096, "expires_at": "2300-01-01T00:00:00Z"}
    models = [model | {"size_vram": model["size"]}, model | {"name": "b", "size_vram": 0},
              model | {"name": "c", "size_vram": model["size"] * 3 // 4,
                       "expires_at": "2020-01-01T00:00:00Z"},
              {"name": "d", "expires_at": "0001-01-01T00:00:00Z"}]
    with McpServer(answers(ps={"models": models})) as server:
        assert good("ps", server=server) == (
            "NAME         ID              SIZE      PROCESSOR          CONTEXT    UNTIL\n"
            "llama3:8b    365c0bd3c000    4.7 GB    100% GPU           4096       Forever\n"
            "b            365c0bd3c000    4.7 GB    100% CPU           4096       Forever\n"
            "c            365c0bd3c000    4.7 GB    25%/75% CPU/GPU    4096       Stopping...\n"
            "d                            -         Unknown            -          Never\n")
        assert json.loads(good("ps", "--json", server=server)) == {"models": models}
    assert server.requests[0] == {"mcp": {"op": "ps"}}


def test_show():
    model = {"details": {"family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_0"},
             "model_info": {"general.architecture": "llama", "llama.context_length": 8192,
                            "llama.embedding_length": 4096},
             "capabilities": ["completion", "tools"], "parameters": 'stop    "<|a|>"\nstop    "<|b|>"',
             "license": "\nLICENSE\n\nof many\nlines\n", "system": "Be kind."}
    with McpServer(answers(show=model)) as server:
        assert good("show", "llama3", server=server) == (
            "  Model\n"
            "    architecture        llama\n"
            "    parameters          8.0B\n"
            "    context length      8192\n"
            "    embedding length    4096\n"
            "    quantization        Q4_0\n\n"
            "  Capabilities\n    completion\n    tools\n\n"
            '  Parameters\n    stop    "<|a|>"\n    stop    "<|b|>"\n\n'
            "  System\n    Be kind.\n\n"
            "  License\n    LICENSE\n    of many\n    ...\n")
        assert json.loads(good("show", "llama3", "--json", server=server)) == model
    assert server.requests[0] == {"model": "llama3", "mcp": {"op": "show"}}


def test_ping():
    with McpServer() as server:
        out = good("ping", "-c", "3", "-i", "0.01", server=server)
        rows = [json.loads(line)
                for line in good("ping", "-c2", "-i0", "--json", server=server).splitlines()]
    number = r"\d+\.\d{3}"
    assert re.fullmatch(
        "".join(rf"heartbeat from {server.address}: seq={i} time={number} ms\n" for i in (1, 2, 3)) +
        rf"\n--- {server.address} ---\n3 sent, 3 answered, 0% lost\n"
        rf"round trip min/avg/max = {number}/{number}/{number} ms\n", out)
    assert [row.get("seq") for row in rows] == [1, 2, None]
    assert rows[2].keys() == {"sent", "answered", "min_us", "avg_us", "max_us"}
    assert rows[2]["min_us"] <= rows[2]["avg_us"] <= rows[2]["max_us"]
    assert len(server.heartbeats) == 5


def test_ping_verbose():
    with McpServer(offers=["cancel", "chunk"]) as server:
        result = run("ping", "-v", "-c1", server=server)
        assert result.stderr == f"connected to {server.address}: a test, connection 1, json cancel chunk\n"
        assert result.returncode == 0


def test_ping_until_interrupted():
    with McpServer() as server:
        with subprocess.Popen([BIN, "ping", "-i", "3600"], stdout=subprocess.PIPE, text=True,
                              env=environment(MCPGATE_HOST=server.address)) as process:
            assert process.stdout.readline().startswith("heartbeat from ")
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 0
            assert "1 sent, 1 answered, 0% lost\n" in process.stdout.read()


def test_nodes():
    with McpServer(answers(health=HEALTH)) as server:
        assert good("nodes", server=server) == \
            ("NAME    STATE    KIND      MODELS    LOADED    RUNNING    ERROR\n"
             "a       up       ollama    2         0         0\n"
             "bcde    down     -         -         -         0          Connection refused\n\n"
             "gateway  ok\n")
        assert json.loads(good("nodes", "--json", "--deep", server=server)) == HEALTH
    assert server.requests == [{"mcp": {"op": "health"}}, {"mcp": {"op": "health"}, "deep": True}]
    with McpServer(answers(health=HEALTH | {"status": "down"})) as server:
        result = run("nodes", server=server)
        assert (result.returncode, result.stderr) == (1, "")
        assert result.stdout.endswith("\ngateway  down\n")


def test_nodes_deep():
    up = HEALTH | {"nodes": HEALTH["nodes"][:1]}
    generated = up | {"generate": {"ok": True, "ms": 12, "node": "a", "error": ""}}
    with McpServer(answers(health=generated)) as server:
        assert good("nodes", "--deep", server=server) == (
            "NAME    STATE    KIND      MODELS    LOADED    RUNNING\n"
            "a       up       ollama    2         0         0\n\n"
            "gateway  ok\ngenerate ok on a in 12 ms\n")
    with McpServer(answers(health=up | {"generate": {"ok": False, "ms": 1, "node": "a", "error": "no"}})) as server:
        result = run("nodes", "--deep", server=server)
        assert (result.returncode, result.stderr) == (1, "")
        assert result.stdout.endswith("\ngenerate failed on a: no\n")


def test_version(free_port):
    client = good("--version").split()[1]
    with McpServer(answers(health=HEALTH)) as server:
        assert good("version", server=server) == f"client  {client}\ngateway 9.9\n"
        assert json.loads(good("version", "--json", server=server)) == {"client": client, "gateway": "9.9"}
    result = run("version", "--host", f"127.0.0.1:{free_port}")
    assert (result.returncode, result.stdout) == (4, f"client  {client}\n")


def test_unix_socket_and_host_option(tmp_path):
    with McpServer(answers(), unix_path=tmp_path / "s") as server:
        assert good("list", "--host", server.address, MCPGATE_HOST="127.0.0.1:1").startswith("NAME ")


# --- configuration ----------------------------------------------------------------------------------

def test_check_config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("nodes:\n- {url: 'http://a:1', kind: openai}\nhttp: {listen: off}\n"
                    "keys: [{name: k, key: s}]\n")
    path.chmod(0o644)
    result = run("check-config", "-c", str(path), "--admin", "127.0.0.1:1")
    assert (result.returncode, result.stdout) == (0, (
        "mcp     127.0.0.1:8080\nhttp    off\nadmin   127.0.0.1:1\n"
        "node    a:1  http://a:1  openai\nkey     k\n"))
    assert result.stderr == (f"mcpgate: warning: keys: other users can read '{path}', which holds a key; "
                             "chmod 600 it\n")


@pytest.mark.parametrize("path, why", [
    ("none/log", "No such file or directory"), (".", "Is a directory"), ("c.yaml/log", "Not a directory")])
def test_an_access_log_that_cannot_be_is_said_before_the_start(tmp_path, path, why):
    (tmp_path / "c.yaml").write_text(f"log: {{access: {tmp_path}/{path}}}\n")
    lines = [bad(status, command, "-c", str(tmp_path / "c.yaml"), "--mcp", "127.0.0.1:0", "--http", "off",
                 "--admin", "off") for command, status in (("check-config", 2), ("serve", 2))]
    assert lines == [f"mcpgate: access log {tmp_path}/{path}: {why}"] * 2


def test_checking_a_configuration_makes_no_access_log(tmp_path):
    good("check-config", "--access-log", str(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_wrong_configuration(command, tmp_path):
    (tmp_path / "c.yaml").write_text("log:\n  level: loud\n")
    result = subprocess.run([BIN, command, "-c", "c.yaml"], cwd=tmp_path, env=environment(), text=True,
                            capture_output=True, timeout=DEADLINE_S, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == ("mcpgate: c.yaml:2: log.level: expected debug, info, warn or error, "
                             "not 'loud'\n")
    assert bad(2, command, "--mcp", "8080") == \
        "mcpgate: --mcp: expected host:port, [v6]:port, unix:PATH or off, not '8080'"
