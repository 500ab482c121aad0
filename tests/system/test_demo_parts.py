# SPDX-License-Identifier: Apache-2.0
"""The rules of tools/demo: where an Ollama is, which model is taken, what is read from mcpgate."""
import http.server
import io
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from demolib import gateway, ollama, runs, show  # noqa: E402


# --- OLLAMA_HOST --------------------------------------------------------------------------------
@pytest.mark.parametrize("value, url", [
    # as Ollama's own tests have it
    ("", "http://127.0.0.1:11434"),
    ("1.2.3.4", "http://1.2.3.4:11434"),
    (":1234", "http://127.0.0.1:1234"),
    ("1.2.3.4:1234", "http://1.2.3.4:1234"),
    ("example.com", "http://example.com:11434"),
    ("example.com:1234", "http://example.com:1234"),
    (":66000", "http://127.0.0.1:11434"),
    (":-1", "http://127.0.0.1:11434"),
    ("[::1]", "http://[::1]:11434"),
    ("::1", "http://[::1]:11434"),
    ("[::1]:1337", "http://[::1]:1337"),
    ("[::]", "http://[::1]:11434"),
    ("[::]:99", "http://[::1]:99"),
    (" 1.2.3.4 ", "http://1.2.3.4:11434"),
    ('"1.2.3.4"', "http://1.2.3.4:11434"),
    (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
    ("'1.2.3.4'", "http://1.2.3.4:11434"),
    ("http://1.2.3.4", "http://1.2.3.4:80"),
    ("http://1.2.3.4:4321", "http://1.2.3.4:4321"),
    ("https://1.2.3.4", "https://1.2.3.4:443"),
    ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
    ("https://example.com/ollama", "https://example.com:443/ollama"),
    ("ollama.com", "https://ollama.com:443"),
    # and what a client makes of them
    ("0.0.0.0", "http://127.0.0.1:11434"),
    ("0.0.0.0:8000", "http://127.0.0.1:8000"),
    ("http://0.0.0.0", "http://127.0.0.1:80"),
    ("example.com/", "http://example.com:11434"),
    ("http://example.com:80/a/b/", "http://example.com:80/a/b"),
    ("http://[::1]", "http://[::1]:80"),
    ("example.com:", "http://example.com:11434"),
    ("example.com:http", "http://example.com:11434"),
    (None, "http://127.0.0.1:11434"),
])
def test_host_as_ollama_reads_it(value, url):
    assert ollama.host_url(value) == url


# --- the model ----------------------------------------------------------------------------------
class FakeOllama:
    """Answers GET and POST by path; a value may be a function of the request's body."""

    def __init__(self, answers):
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.path, body))
                found = answers.get(self.path)
                if callable(found):
                    found = found(json.loads(body))
                data = json.dumps(found).encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def model(name, size, **more):
    return {"name": name, "model": name, "size": size, "details": {"family": "llama"}, **more}


CHAT, EMBED = ["completion", "tools"], ["embedding"]


def choose(tags, ps=(), show_=None):
    answers = {"/api/tags": {"models": list(tags)}, "/api/ps": {"models": list(ps)}}
    if show_ is not None:
        answers["/api/show"] = lambda body: show_.get(body["model"])
    with FakeOllama(answers) as fake:
        chosen = ollama.choose_model(ollama.Client(fake.url))
        assert all(path in ("/api/tags", "/api/ps", "/api/show") for path, _ in fake.asked)
        return chosen


def test_the_smallest_chat_model_is_taken():
    assert choose([model("big:7b", 4e9, capabilities=CHAT), model("small:1b", 9e8, capabilities=CHAT)]) == "small:1b"


def test_sizes_are_compared_as_numbers_and_equal_ones_by_name():
    assert choose([model("b", 5, capabilities=CHAT), model("a", 5, capabilities=CHAT),
                   model("c", 10, capabilities=CHAT)]) == "a"


def test_a_resident_model_is_taken_before_a_smaller_one():
    tags = [model("big:7b", 4, capabilities=CHAT), model("small:1b", 1, capabilities=CHAT)]
    assert choose(tags, [model("big:7b", 4)]) == "big:7b"


def test_of_several_resident_models_the_smallest():
    tags = [model("a", 3, capabilities=CHAT), model("b", 2, capabilities=CHAT), model("c", 1, capabilities=CHAT)]
    assert choose(tags, [model("a", 3), model("b", 2)]) == "b"


def test_cloud_and_remote_models_are_never_taken():
    tags = [model("gpt-oss:20b-cloud", 1, capabilities=CHAT), model("big:cloud", 1, capabilities=CHAT),
            model("alias", 1, capabilities=CHAT, remote_host="https://example.com"),
            model("alias2", 1, capabilities=CHAT, remote_model="gpt-oss:120b"),
            model("mine", 9, capabilities=CHAT)]
    assert choose(tags, tags[:4]) == "mine"
    assert choose(tags[:4], tags[:4]) is None


def test_embedding_models_are_never_taken():
    tags = [model("nomic-embed-text", 1, capabilities=EMBED), model("llama", 9, capabilities=CHAT)]
    assert choose(tags, tags[:1]) == "llama"
    assert choose(tags[:1]) is None


def test_capabilities_are_asked_for_where_the_list_has_none():
    tags = [model("one", 1), model("two", 2), model("three", 3)]
    shown = {"one": {"capabilities": EMBED}, "two": {"capabilities": CHAT}, "three": {"capabilities": CHAT}}
    assert choose(tags, show_=shown) == "two"


def test_an_ollama_without_capabilities_is_judged_by_family_and_name():
    tags = [model("all-minilm", 1, details={"family": "bert", "families": None}),
            model("mxbai-embed-large", 2), model("llama", 3)]
    assert choose(tags, show_={"llama": {"details": {}}}) == "llama"


def test_no_model_at_all():
    assert choose([]) is None
    with FakeOllama({"/api/tags": {"models": None}}) as fake:
        assert ollama.choose_model(ollama.Client(fake.url)) is None


def test_what_is_no_ollama_is_said_so():
    with FakeOllama({}) as fake:
        with pytest.raises(ollama.Unusable, match="/api/version answers 404"):
            ollama.Client(fake.url).ask("GET", "/api/version")
        url = fake.url
    with pytest.raises(ollama.Unusable, match="does not answer"):
        ollama.Client(url).ask("GET", "/api/version")


def test_proxies_of_the_environment_are_not_for_nodes(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert choose([model("mine", 9, capabilities=CHAT)]) == "mine"


# --- mcpgate's output -----------------------------------------------------------------------------
BANNER = """\
mcp    listening on 127.0.0.1:41234
http   listening on 127.0.0.1:41235
admin  listening on [::1]:41236
node   http://127.0.0.1:11434 (ollama) up: gemma3:270m
ready
"""


def test_the_banner_gives_the_addresses_once_it_is_complete():
    lines = BANNER.splitlines()
    assert gateway.read_banner(lines[:-1]) is None
    assert gateway.read_banner(lines) == {
        "mcp": "127.0.0.1:41234", "http": "127.0.0.1:41235", "admin": "[::1]:41236"}


def test_a_gateway_whose_node_is_down_has_a_banner_too():
    lines = [*BANNER.splitlines()[:3], "not ready: no node is up, trying again; start one or name another: --node URL"]
    assert gateway.read_banner(lines)["mcp"] == "127.0.0.1:41234"


def metrics(*buckets):
    lines = ["# TYPE mcpgate_relay_seconds histogram", 'mcpgate_relay_seconds_other_bucket{le="1"} 9']
    lines += [f'mcpgate_relay_seconds_bucket{{le="{le}"}} {count}' for le, count in buckets]
    return "\n".join(lines + ["mcpgate_relay_seconds_sum 1.5", "mcpgate_relay_seconds_count 7"]) + "\n"


def test_quantiles_of_what_one_run_added():
    before = gateway.read_histogram(metrics(("1e-05", 50), ("2e-05", 60), ("+Inf", 60)))
    after = gateway.read_histogram(metrics(("1e-05", 100), ("2e-05", 158), ("0.001", 160), ("+Inf", 160)))
    added = gateway.difference(before, after)
    assert added == [(1e-05, 50), (2e-05, 98), (0.001, 100), (float("inf"), 100)]
    assert gateway.quantile(added, 0.5) == 1e-05
    assert gateway.quantile(added, 0.51) == 2e-05
    assert gateway.quantile(added, 0.99) == 0.001
    assert gateway.quantile(gateway.difference(after, after), 0.5) is None
    assert gateway.quantile([], 0.5) is None


def test_label_sets_of_a_histogram_are_added_up():
    text = ('mcpgate_relay_seconds_bucket{face="mcp",le="0.1"} 2\n'
            'mcpgate_relay_seconds_bucket{face="http",le="0.1"} 3\n')
    assert gateway.read_histogram(text) == [(0.1, 5)]


# --- the runs -------------------------------------------------------------------------------------
def follow(text, read, status=0, stderr=b"", mcp=False):
    process = subprocess.Popen(["true"])
    process.wait()
    child = type("child", (), {"process": process})
    process.stdout, process.stderr = open_pipe(text), io.BytesIO(stderr)
    process.wait = lambda: status
    pieces = []
    return runs.follow(child, read, pieces.append, mcp), "".join(pieces)


def open_pipe(text):
    reader, writer = os.pipe()
    threading.Thread(target=lambda: (os.write(writer, text.encode()), os.close(writer))).start()
    return open(reader, "rb", buffering=0)


NATIVE = '{"response":"a","done":false}\n{"response":"ü","done":false}\n{"response":"","done":true,"eval_count":7}\n'
SSE = ('data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n: ping\n\n'
       'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"}}]}\n\n'
       'data: {"choices":[],"usage":{"completion_tokens":5}}\n\ndata: [DONE]\n\n')


def test_a_native_answer_is_counted():
    run, text = follow(NATIVE, runs.read_native)
    assert (text, run.tokens, run.pieces, run.bytes) == ("aü", 7, 2, len(NATIVE.encode()))
    run, _ = follow(NATIVE, runs.read_native, mcp=True)
    assert run.bytes == len(NATIVE.encode()) - 3 + 3 * 10  # a frame header instead of the newline


def test_an_sse_answer_is_counted():
    run, text = follow(SSE, runs.read_sse)
    assert (text, run.tokens, run.pieces, run.bytes) == ("ab", 5, 2, len(SSE))


@pytest.mark.parametrize("text, read, message", [
    ('{"error":"model x not found","code":"unknown_model","done":true}\n', runs.read_native, "model x not found"),
    ('{"error":{"message":"no such model","type":"x"}}\n', runs.read_native, "no such model"),
    ('data: {"error":{"message":"broken"}}\n\n', runs.read_sse, "broken"),
    ('{"response":"a","done":false}\n', runs.read_native, "ended without its last part"),
    (SSE.replace("data: [DONE]\n\n", ""), runs.read_sse, "ended without its last part"),
])
def test_an_answer_that_does_not_end_well_fails(text, read, message):
    with pytest.raises(runs.RunFailed, match=message):
        follow(text, read)


def test_the_clients_own_words_are_shown_when_it_fails():
    with pytest.raises(runs.RunFailed, match="mcpgate: node_unavailable: no node is up"):
        follow("", runs.read_native, status=1, stderr=b"mcpgate: node_unavailable: no node is up\n")


def test_curl_is_told_to_use_no_proxy_and_no_settings_of_the_user():
    command = runs.generate_command("127.0.0.1:1", runs.Request("m", "p", raw=True))
    assert command[:2] == ["curl", "-q"]
    assert command[command.index("--noproxy") + 1] == "*"


# --- what is printed --------------------------------------------------------------------------------
def test_the_table():
    run = runs.Run(first_s=0.142, last_s=1.142, tokens=96, pieces=96, bytes=24_100)
    assert show.table([("MCP", run, (18e-6, 1.2e-3)), ("/api/generate", None, None)]) == [
        "                first  tokens                   added   added",
        "                token   per s  tokens    bytes    p50     p99",
        "MCP            142 ms    95.0      96  24.1 kB  18 us  1.2 ms",
        "/api/generate       -       -       -        -      -       -"]


def test_a_model_cannot_move_the_terminal():
    assert show.harmless("a\x1b[2Jb\tc\n", "\n\t") == "a\N{REPLACEMENT CHARACTER}[2Jb\tc\n"
    assert show.harmless("größe 東京\n") == "größe 東京\N{REPLACEMENT CHARACTER}"
