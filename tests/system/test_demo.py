# SPDX-License-Identifier: Apache-2.0
"""The whole of tools/demo with the embedded model: it answers, and nothing is left behind."""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from demo import Demo
from engine import TOOLS
from ollama_node import OllamaNode

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def fetched():
    subprocess.run([TOOLS / "fetch"], check=True)  # of no effect where `make test` runs the tests


@contextlib.contextmanager
def ollama_with(models):
    """Something at a port that answers as an Ollama with these models."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = json.dumps({"version": "0.17.4", "models": models}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def rows_of(out):
    """{name: [first token, tokens/s, tokens, bytes, p50, p99]} of the table at the end."""
    rows = {}
    for line in out.splitlines():
        row = re.match(r"(MCP|/api/generate|/v1/chat/completions)  +(.*)$", line)
        if row:
            rows[row[1]] = re.split(r" {2,}", row[2].strip())
    return rows


def assert_good(status, out, err):
    assert (status, err) == (0, "")
    assert "\033" not in out  # no colour but on a terminal
    assert "270M base model" in out
    rows = rows_of(out)
    assert list(rows) == ["MCP", "/api/generate", "/v1/chat/completions"]
    for first, rate, tokens, size, p50, p99 in rows.values():
        assert 2 <= int(tokens) <= 96
        assert float(rate) > 0
        for value in (first, p50, p99):
            assert re.fullmatch(r"(<1 us|[\d.]+ (us|ms|s))", value)
        assert re.fullmatch(r"[\d.]+ k?B", size)


def test_without_a_chat_model_in_ollama_it_says_so_and_takes_the_embedded_one():
    cloud = {"name": "gpt-oss:120b-cloud", "size": 1, "remote_host": "https://example.com"}
    with ollama_with([cloud]) as host:
        demo = Demo(OLLAMA_HOST=host)
        status, out, err = demo.finish()
    assert_good(status, out, err)
    assert f"OLLAMA_HOST={host} ollama pull " in out
    demo.assert_nothing_left()


def test_an_ollama_with_a_chat_model_is_used_as_it_is():
    with OllamaNode("llama3:8b", "m:latest") as node:
        demo = Demo(OLLAMA_HOST=node.url)
        status, out, err = demo.finish()
        asked = {request.path for request in node.requests}
    assert (status, err) == (0, "")
    assert "llama3:8b of the Ollama at " + node.url in out  # the one that is loaded
    assert "270M" not in out
    assert [row[2] for row in rows_of(out).values()] == ["4", "4", "4"]
    assert {"/api/generate", "/v1/chat/completions"} <= asked
    assert not asked & {"/api/pull", "/api/create", "/api/delete"}
    demo.assert_nothing_left()


LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as s:  # SIOCSIFFLAGS, IFF_UP; iproute2 may not be there
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_run_with_all_in_place_uses_no_network():
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
    demo = Demo([*unshare, sys.executable, "-c", LOOPBACK_UP])
    assert_good(*demo.finish())
    demo.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_tokens_come_leaves_nothing_behind(number):
    demo = Demo()
    demo.wait_for_output("Every day, ")  # the prompt's end and the first token
    demo.process.send_signal(number)
    status, _, err = demo.finish()
    assert (status, err) == (128 + number, "demo: stopped\n")
    demo.assert_nothing_left()


def test_a_signal_while_the_model_loads_leaves_nothing_behind():
    demo = Demo()
    demo.wait_for_output("no Ollama here")
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish()[0] == 130
    demo.assert_nothing_left()


def test_a_demo_that_is_killed_leaves_nothing_behind():
    demo = Demo()
    demo.wait_for_output("Every day, ")
    demo.process.kill()
    demo.finish()
    demo.assert_nothing_left()


def test_keep_leaves_it_running_and_says_how_to_stop_it():
    demo = Demo(KEEP="1")
    status, out, err = demo.finish()
    try:
        assert_good(status, out, err)
        stop = re.search(r"to stop: (kill .*)", out)
        address = re.search(r"http (127\.0\.0\.1:\d+)", out)
        assert len(demo.left()) == 2
        connection = http.client.HTTPConnection(address[1], timeout=10)
        connection.request("GET", "/v1/models")
        assert connection.getresponse().status == 200
        connection.close()
        subprocess.run(shlex.split(stop[1]), check=True)
        demo.assert_nothing_left()
    finally:
        for pid in demo.left():
            os.kill(pid, signal.SIGKILL)


def test_a_gateway_that_does_not_start_is_said_in_one_line(tmp_path):
    broken = tmp_path / "mcpgate"
    broken.write_text("#!/bin/sh\necho 'mcpgate: no such luck' >&2\nexit 3\n")
    broken.chmod(0o755)
    demo = Demo(MCPGATE_BIN=str(broken))
    status, _, err = demo.finish()
    assert (status, err) == (1, "demo: mcpgate serve ended: mcpgate: no such luck\n")
    demo.assert_nothing_left()


def test_a_missing_binary_is_said_in_one_line(tmp_path):
    status, _, err = Demo(MCPGATE_BIN=str(tmp_path / "mcpgate")).finish()
    assert (status, err) == (1, f"demo: {tmp_path}/mcpgate is not there; make build\n")


@pytest.fixture
def without_packages():
    """(command prefix, environment, tree): a user without sudo, on a machine that lacks the packages."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="mcpgate-test-") as name:  # pytest's own are for this user alone
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "bin").mkdir()
        for program in ("dpkg-query", "sudo", "apt-get"):
            (folder / "bin" / program).write_text("#!/bin/sh\nexit 1\n")
            (folder / "bin" / program).chmod(0o755)
        shutil.copytree(ROOT / "tools", folder / "tree/tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Makefile", folder / "tree")
        environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "MAKEFLAGS": ""}
        environment.pop("MCPGATE_BIN", None)
        yield nobody, environment, folder / "tree"


COMMANDS = [("tools/demo", 4), ("tools/deps demo", 4), ("make demo", 2), ("make test", 2)]


@pytest.mark.parametrize(("command", "status"), COMMANDS)
def test_without_root_and_sudo_the_line_to_run_is_printed(without_packages, command, status):
    nobody, environment, tree = without_packages
    run = subprocess.run([*nobody, *command.split()], cwd=tree, env=environment, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == status
    assert "not root and no sudo: run this as root, then start again\n" in run.stdout
    assert re.search(r"^    apt-get update && apt-get install -y --no-install-recommends gcc .*", run.stdout, re.M)
    if status == 2:  # make's own, whatever a recipe's is; it says that
        assert "Error 4" in run.stderr
    else:
        assert run.stderr == ""
