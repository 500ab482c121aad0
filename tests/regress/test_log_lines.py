# SPDX-License-Identifier: Apache-2.0
"""Log lines stop nobody, and hold nothing that a peer could write into them."""
import json
import os
import pathlib
import re
import shlex
import subprocess

from engine import die_with_parent
from gateway import LOOPBACK, Gateway
from http_bytes import HttpClient, ask, encode_json, wait_until
from mcp_client import McpClient, encode
from mcp_negotiated import HELLO, WELCOME
from node import answer
from ollama_node import OllamaNode


def test_a_stderr_that_nobody_reads_stops_nothing():
    with OllamaNode() as node:
        process = subprocess.Popen([os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"), "serve", "--mcp", "off",
                                    "--http", LOOPBACK, "--admin", "off", "--node", node.url],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        try:
            for line in process.stdout:
                if listening := re.match(rb"http +listening on 127\.0\.0\.1:(\d+)", line):
                    port = int(listening[1])
                if line == b"ready\n":
                    break
            with HttpClient(("127.0.0.1", port)) as client:
                for _ in range(1500):  # 200 bytes of access log each; a pipe takes 64 KiB
                    client.request("GET", "/")
                    client.request("GET", "/api/version")
                    assert client.response("GET").status == client.response("GET").status == 200
        finally:
            process.kill()
            process.communicate()


def test_what_a_node_says_stays_one_value():
    said = b'\x1b[2J "quoted" \n level=error event=forged'
    with OllamaNode() as node:
        node.always("/api/version", answer(said, status=500, content_type="text/plain"), polls=True)
        with Gateway(node, wait=False) as gateway:
            gateway.wait_line("not ready")
            node.defaults.clear()
            wait_until(lambda: gateway.ready_status() == 200, "the node is up")
            node.always("/api/version", answer(said, status=500, content_type="text/plain"), polls=True)
            wait_until(lambda: "state=down" in gateway.errors(), "the node is down again")
            (line,) = [line for line in gateway.errors().splitlines() if "state=down" in line]
            pairs = dict(word.split("=", 1) for word in shlex.split(line))
            assert pairs["event"] == "node_state" and '"quoted"' in pairs["why"]
            assert "\x1b" not in gateway.errors() + "".join(gateway.lines)


def test_why_a_connection_is_closed_is_one_value():
    with OllamaNode() as node, Gateway(node) as gateway:
        with McpClient(gateway.mcp) as client:
            client.send(encode(HELLO, 0, encode_json({"codecs": ["carrier pigeon"]})))
            assert client.frame().opcode == WELCOME
            assert client.closed() == b""
        (line,) = [line for line in gateway.errors().splitlines() if "mcp_close" in line]
        pairs = dict(word.split("=", 1) for word in shlex.split(line))
        assert (pairs["reason"], pairs["text"]) == ("bad_request", 'HELLO: none of "codecs" is known here; "json" is')


def test_what_a_configuration_names_stays_one_value():
    with OllamaNode() as node, Gateway(node, config={}) as gateway:
        folder = pathlib.Path(gateway.folder.name)
        key = folder / 'a "key"\nts=x level=error event=forged'
        key.write_text("secret")
        key.chmod(0o644)
        (folder / "mcpgate.yaml").write_text(json.dumps({"keys": [{"name": "a", "key_file": key.name}]}))
        assert ask(gateway.admin, "POST", "/admin/reload").status == 200
        (line,) = wait_until(lambda: [line for line in gateway.errors().splitlines() if "event=config " in line],
                             "the warning")
        pairs = dict(word.split("=", 1) for word in shlex.split(line))
        assert (pairs["event"], pairs["level"]) == ("config", "warn") and 'a "key"' in pairs["text"]
        assert "event=forged" not in [word for line in gateway.errors().splitlines() for word in shlex.split(line)]
