# SPDX-License-Identifier: Apache-2.0
"""The embedded engine as tests and demo use it: the real thing behaves as tests/fixtures/llamacpp says."""
import http.client
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import resource
import subprocess
import sys

import pytest

from engine import TOOLS

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "llamacpp"


def load_tool(name):
    """A tool of tools/engine as a module."""
    sys.path.insert(0, str(TOOLS))
    loader = importlib.machinery.SourceFileLoader(f"engine_{name}", str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


fetch, record = load_tool("fetch"), load_tool("record")


def shape(value):
    """The keys and kinds of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def describe(response):
    """Status, names of the headers, and the shape of every JSON object in the body, repeats once."""
    head, _, body = response.partition("\r\n\r\n")
    status, *headers = head.split("\r\n")
    shapes = []
    for line in re.findall(r"^(?:data: )?([{\[].*)$", body, re.M):
        if line.startswith("[DONE]"):
            shapes.append("[DONE]")
        elif (one := shape(json.loads(line))) not in shapes:
            shapes.append(one)
    return status, sorted(h.split(":")[0] for h in headers), shapes


@pytest.mark.parametrize("name", sorted(record.EXCHANGES))
def test_recording_is_what_the_engine_answers(engine, name):
    fixture = json.loads((FIXTURES / f"{name}.json").read_text())
    assert sum(fixture["reads"]) == len(fixture["response"].encode())
    if name in ("error-context", "error-embeddings-context"):
        return  # recorded with a smaller context
    data, _ = record.exchange(engine.port, record.EXCHANGES[name])
    now, then = describe(data.decode()), describe(fixture["response"])
    if name == "slots":  # a slot tells more once it has had a task
        now, then = now[:2], then[:2]
    assert now == then


def test_a_client_that_leaves_a_stream_frees_the_slot(engine):
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=30)
    body = {"prompt": "Once upon a time", "max_tokens": 1500, "stream": True, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    assert response.readline().startswith(b"data: ")
    assert engine.busy() == 1
    response.close()
    connection.close()
    engine.wait_busy(0)


def test_a_second_fetch_needs_no_network_and_is_quick(engine):
    command = [TOOLS / "fetch"]
    if os.geteuid() == 0:
        command = ["unshare", "-n", *command]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.stdout == "" and run.stderr == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # whatever else runs


def test_a_proxy_that_does_not_answer_is_one_line(tmp_path):
    env = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
    env |= {"MCPGATE_ENGINE_DIR": str(tmp_path), "https_proxy": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9", "PIP_FIND_LINKS": str(tmp_path)}
    run = subprocess.run([TOOLS / "fetch"], capture_output=True, text=True, env=env)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    for part in ("xllamacpp", "34 MB", str(tmp_path), "proxy in the environment does not answer", "by hand"):
        assert part in run.stderr


@pytest.mark.parametrize("output, cause", [
    ("WARNING: Retrying ... NewConnectionError('...: [Errno 101] Network is unreachable')\n"
     "ERROR: No matching distribution found for x==1", "no route to the package index"),
    ("ProxyError('Cannot connect to proxy.', NewConnectionError('... [Errno 111] Connection refused'))",
     "the proxy in the environment does not answer"),
    ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403 Forbidden'))",
     "the proxy refused it (403 Forbidden)"),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
     "no disk space left"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))",
     "the package index's TLS certificate is not accepted"),
    ("ERROR: No matching distribution found for x==1", "No matching distribution found for x==1"),
    ("ERROR: something new", "something new"),
])
def test_the_cause_is_read_from_what_pip_says(output, cause):
    assert fetch.cause_of(output) == cause


def test_no_disk_space_is_said_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: type("usage", (), {"free": 5_000_000}))
    with pytest.raises(fetch.Failed, match="needs 491 MB, 5 MB are free in"):
        fetch.check_disk(fetch.SERVER_DISK_MB + fetch.MODEL_DISK_MB)


def test_serve_says_that_its_port_is_taken(engine):
    run = subprocess.run([TOOLS / "serve", "--port", str(engine.port)], capture_output=True, text=True)
    assert run.returncode == 1
    assert f"port {engine.port}: Address already in use" in run.stderr
