# SPDX-License-Identifier: Apache-2.0
"""Ten thousand connections that begin and do not go on: whoever does go on is served meanwhile, the limits end them, and
nothing of them is left.

Where `ulimit -Hn` allows fewer, there are fewer; a body may pause for two minutes, so those are ended by their clients.
"""
import contextlib
import os
import resource
import socket

import pytest

from gateway import Gateway
from http_bytes import HttpClient, reset, wait_until
from mcp_client import REQUEST, McpClient, encode
from node import Gate, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
HEAD = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n" + b'{"model":"m","pro'
FRAME = encode(REQUEST, 1, b"x" * 100)
DRIP = {HEAD: b"x", BODY: b"x", FRAME[:9]: b"", FRAME[:50]: b""}  # what goes on, a byte at a time
ENDED_BY_LIMITS = (HEAD, FRAME[:9], FRAME[:50])
MIB = 1 << 20


@pytest.fixture(scope="module")
def count():
    """As many as there can be; the gateway keeps a quarter of its descriptors for other things, 1,024 at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(10000, hard - min(hard // 4, 1024) - 100) // len(DRIP)


class Slow:
    """`count` connections for each way to be slow."""

    def __init__(self, gateway, count):
        self.begun = {begin: [] for begin in DRIP}
        for begin, socks in self.begun.items():
            for _ in range(count):
                sock = socket.create_connection(gateway.http if begin in (HEAD, BODY) else gateway.mcp)
                sock.setblocking(False)
                sock.sendall(begin)
                socks.append(sock)

    def drip(self):
        for begin, socks in self.begun.items():
            for sock in socks if DRIP[begin] else ():
                with contextlib.suppress(OSError):
                    sock.send(DRIP[begin])

    def ended(self, begin):
        """How many of these the gateway has closed."""
        still = []
        for sock in self.begun[begin]:
            try:
                while data := sock.recv(65536):
                    assert data.startswith(b"HTTP/1.1 408 "), data
                sock.close()
            except BlockingIOError:
                still.append(sock)
            except OSError:
                sock.close()
        self.begun[begin] = still
        return not still

    def close(self):
        for socks in self.begun.values():
            for sock in socks:
                reset(sock)


def open_of(gateway):
    metrics = gateway.metrics()
    return [int(metrics[f'mcpgate_connections_open{{face="{face}"}}']) for face in ("http", "mcp")]


def hold(gateway, count):
    slow = Slow(gateway, count)
    wait_until(lambda: open_of(gateway) == [2 * count] * 2, lambda: open_of(gateway))
    return slow


def serve(gateway):
    """New clients of both faces."""
    with HttpClient(gateway.http) as http, McpClient(gateway.mcp) as mcp:
        for _ in range(5):
            http.request("POST", "/api/generate", GENERATE)
            assert http.response().lines() == PARTS
            assert mcp.ask(GENERATE) == PARTS


def check_nothing_left(gateway, files):
    wait_until(lambda: open_of(gateway) == [0, 0], lambda: open_of(gateway))
    gateway.wait_metric("mcpgate_body_bytes", 0)
    gateway.wait_idle()
    wait_until(lambda: open_files(gateway) <= files + 20, lambda: f"{open_files(gateway)} are open, {files} were")


def open_files(gateway):
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def test_ten_thousand_slow_connections(count):
    # What a sanitizer puts aside before it frees it would count.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}
    with OllamaNode() as node, Gateway(node, env=env) as gateway:
        serve(gateway)
        wait_until(lambda: open_of(gateway) == [0, 0], lambda: open_of(gateway))
        files, rss = open_files(gateway), []
        for ended_by_limits in (False, True, False):
            slow = hold(gateway, count)
            try:
                serve_while_one_streams(gateway, node, slow, count)
                if ended_by_limits:
                    wait_for_the_limits(gateway, slow)
            finally:
                slow.close()
            check_nothing_left(gateway, files)
            serve(gateway)
            rss.append(gateway.rss_bytes())
        assert rss[-1] < rss[0] + 16 * MIB, [size / MIB for size in rss]


def serve_while_one_streams(gateway, node, slow, count):
    gate = Gate()
    node.next("/api/generate", ndjson(PARTS[0], gate, *PARTS[1:]))
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE)
        assert client.frame().json() == PARTS[0]
        slow.drip()
        serve(gateway)
        assert gateway.metric("mcpgate_body_bytes") >= count * 17  # what came of the bodies
        gate.open()
        assert [frame.json() for frame in client.parts()] == PARTS[1:]


def wait_for_the_limits(gateway, slow):
    """A head has 30 s from its first byte, however it drips; a frame 10 s from byte to byte."""
    def all_ended():
        slow.drip()
        serve(gateway)
        return all([slow.ended(begin) for begin in ENDED_BY_LIMITS])
    wait_until(all_ended, "the limits end them", deadline_s=60, step_s=1)
