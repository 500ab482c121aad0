# SPDX-License-Identifier: Apache-2.0
"""The gateway on each backend of its event loops, and what it says where io_uring cannot be had."""
import ctypes
import os
import re
import resource
import socket
import struct
import subprocess

import pytest

from gateway import Gateway
from http_bytes import ask
from mcp_client import McpClient
from node import ndjson
from ollama_node import OllamaNode

EPERM, ENOSYS = 1, 38
SETUP = {"x86_64": 425, "aarch64": 425}[os.uname().machine]
OFF = ["--mcp=off", "--http=127.0.0.1:0", "--admin=off"]


def forbid_io_uring(error):
    """A seccomp filter for this process: io_uring_setup fails with `error`."""
    def rule(code, true, false, value):
        return struct.pack("HBBI", code, true, false, value)
    load_number, jump_if_equal, give = 0x20, 0x15, 0x06
    rules = (rule(load_number, 0, 0, 0) + rule(jump_if_equal, 0, 1, SETUP)
             + rule(give, 0, 0, 0x50000 | error) + rule(give, 0, 0, 0x7fff0000))
    buffer = ctypes.create_string_buffer(rules, len(rules))
    program = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, program) == 0  # PR_SET_SECCOMP, a filter


def run(*options, preexec_fn=None):
    return subprocess.run([os.environ["MCPGATE_BIN"], "serve", *OFF, *options], capture_output=True, text=True,
                          preexec_fn=preexec_fn, timeout=20)


def backend_line(gateway):
    return re.search(r"level=info event=backend (.*)", gateway.errors())[1]


@pytest.fixture(scope="module")
def here():
    """Why io_uring cannot be had on this machine; None: it can."""
    with socket.create_server(("127.0.0.1", 0)) as taken:  # it ends at once, either way
        refused = run("--backend", "io_uring", "--http=127.0.0.1:%d" % taken.getsockname()[1])
    return refused.stderr if refused.returncode == 1 else None


@pytest.mark.parametrize("mode", ["single", "main-sub"])
@pytest.mark.parametrize("name", ["epoll", "io_uring"])
def test_it_serves_on(name, mode, here):
    if name == "io_uring" and here:
        pytest.skip(here)
    parts = [{"model": "m", "response": "x" * n, "done": False} for n in (1, 3000, 200000)]
    config = {"reactor": {"backend": "auto", "mode": mode, "count": 2}}
    with OllamaNode() as node, Gateway(node, config=config, args=["--backend", name]) as gateway:
        assert backend_line(gateway) == f'name={name} why="configured"'
        gateway.wait_metric(f'mcpgate_loops{{backend="{name}"}}', 1 if mode == "single" else 3)  # threads begin by and by
        node.always("/api/generate", ndjson(*parts, {"done": True}))
        for _ in range(20):
            answer = ask(gateway.http, "POST", "/api/generate", {"model": "m", "prompt": "hi" * 50000})
            assert answer.lines() == [*parts, {"done": True}]
        with McpClient(gateway.mcp) as client:
            for session in range(1, 41):
                client.request(session, {"model": "m", "prompt": "hi"})
            frames = [client.frame() for _ in range(40 * 4)]
        for session in range(1, 41):
            assert [f.json() for f in frames if f.session == session] == [*parts, {"done": True}]


@pytest.mark.parametrize("error, reason", [
    (EPERM, r"a sandbox forbids it|the sysctl kernel\.io_uring_disabled forbids it"),
    (ENOSYS, "the kernel has no io_uring, or a sandbox hides it")], ids=["EPERM", "ENOSYS"])
def test_io_uring_that_cannot_be_had_is_one_line_when_it_was_named(error, reason):
    refused = run("--backend", "io_uring", preexec_fn=lambda: forbid_io_uring(error))
    assert re.fullmatch(rf"mcpgate: io_uring cannot be had: ({reason}); "
                        r"use --backend auto or reactor\.backend\n", refused.stderr)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_automatic_serves_where_it_cannot_be_had():
    with OllamaNode() as node:
        with Gateway(node, args=["--backend", "auto"], in_child=lambda: forbid_io_uring(EPERM)) as gateway:
            assert ask(gateway.http, "GET", "/api/version").status == 200
            assert backend_line(gateway).startswith("name=epoll why=")


def lock_little_memory():
    """For one ring or two; root must count too."""
    PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14
    assert ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) == 0
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (256 * 1024, 256 * 1024))


def test_loops_without_locked_memory_are_on_epoll():
    with OllamaNode() as node, Gateway(node, args=["--backend", "auto", "--reactors", "8"],
                                       in_child=lock_little_memory) as gateway:
        for _ in range(16):
            assert ask(gateway.http, "GET", "/api/version").status == 200
        assert gateway.metric('mcpgate_loops{backend="epoll"}') >= 1
        metrics = gateway.metrics()
        assert sum(metrics.get(f'mcpgate_loops{{backend="{name}"}}', 0) for name in ("epoll", "io_uring")) == 9


def test_a_backend_that_does_not_exist():
    refused = run("--backend", "kqueue")
    assert refused.stderr == "mcpgate: --backend: expected auto, epoll or io_uring, not 'kqueue'\n"
    assert refused.returncode == 2
