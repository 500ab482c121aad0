# SPDX-License-Identifier: Apache-2.0
"""Two real Ollamas behind one gateway: models are pulled, created, copied and deleted on both, and the `ollama` command,
which draws a bar for each file, sees one."""
import hashlib
import http.server
import json
import re
import threading

import pytest

from gateway import Gateway
from http_bytes import ask
from real import CACHE, BINARY, Ollama
from terminal import Terminal

LAYER = "application/vnd.ollama.image."


class Registry:
    """One model, as a registry has it."""

    def __init__(self):
        weights = (CACHE / "tiny.gguf").read_bytes()
        self.blobs = {}
        layer = self.add(weights, LAYER + "model")
        config = json.dumps({"model_format": "gguf", "model_family": "llama", "model_families": ["llama"],
                             "model_type": "1M", "file_type": "F16", "architecture": "amd64", "os": "linux",
                             "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode()
        self.size = len(weights)
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": self.add(config, "application/vnd.docker.container.image.v1+json"), "layers": [layer]}).encode()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, with_body=True):
                data = registry.find(self.path)
                wanted = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                piece = data[int(wanted[1]):int(wanted[2]) + 1] if data and wanted else data or b""
                self.send_response(404 if data is None else 206 if wanted else 200)
                self.send_header("Content-Length", str(len(piece)))
                self.end_headers()
                if with_body:
                    self.wfile.write(piece)

            def do_GET(self):
                if "/blobs/" in self.path and self.path.startswith("/v2/"):  # files lie at another host
                    self.send_response(307)
                    self.send_header("Location", "http://localhost:%d/%s" % (
                        registry.server.server_address[1], self.path.rsplit("/", 1)[-1]))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self.reply()

            def do_HEAD(self):
                self.reply(with_body=False)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.model = "http://127.0.0.1:%d/lib/tiny:latest" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, data, kind):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def find(self, path):
        if path.startswith("/v2/lib/tiny/manifests/"):
            return self.manifest
        return self.blobs.get(path.rsplit("/", 1)[-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def two():
    with Ollama() as a, Ollama() as b:
        a.create("tiny")
        b.create("tiny")
        config = {"nodes": [{"url": a.url, "name": "a"}, {"url": b.url, "name": "b"}], "placement": {"replicas": 2}}
        with Gateway(config=config) as gateway:
            yield gateway, a, b
            gateway.wait_idle()


def models(node):
    return {m["name"]: m["digest"] for m in ask(node.address, "GET", "/api/tags").json()["models"]}


def test_copies_and_deletions_reach_both(two):
    gateway, a, b = two
    assert a.command("cp", "tiny", "k", host=gateway.url)[:2] == (0, "copied 'tiny' to 'k'\n")
    assert models(a).keys() == models(b).keys() == {"tiny:latest", "k:latest"}
    assert ask(gateway.http, "POST", "/api/generate", {"model": "k", "stream": False}).status == 200
    assert a.command("rm", "k", host=gateway.url)[:2] == (0, "deleted 'k'\n")
    assert models(a).keys() == models(b).keys() == {"tiny:latest"}
    status, _, errors = a.command("rm", "k", host=gateway.url)
    assert (status, errors) == a.command("rm", "k")[::2]


def test_what_is_created_on_both_is_the_same(two):
    gateway, a, b = two
    (a.folder / "Modelfile").write_text("FROM tiny\nSYSTEM Be brief.\nPARAMETER num_ctx 512\n")
    status, _, errors = a.command("create", "made", "-f", "Modelfile", host=gateway.url)
    assert status == 0, errors
    assert models(a)["made:latest"] == models(b)["made:latest"]
    assert a.command("rm", "made", host=gateway.url)[0] == 0


def test_a_pull_is_drawn_as_one(two):
    gateway, a, b = two
    with Registry() as registry:
        name = registry.model.removeprefix("http://")
        response = ask(gateway.http, "POST", "/api/pull", {"model": registry.model, "insecure": True}, timeout_s=60)
        lines = response.lines()
        assert lines[0] == {"status": "pulling manifest"} and lines[-1] == {"status": "success"}
        totals = {line["digest"]: line["total"] for line in lines if "digest" in line}
        assert totals == {digest: 2 * len(data) for digest, data in registry.blobs.items()}
        done = {line["digest"]: line["completed"] for line in lines if "completed" in line}
        assert done == totals
        assert models(a)[name] == models(b)[name]
        assert a.command("rm", registry.model, host=gateway.url)[0] == 0
        with Terminal([BINARY, "pull", registry.model, "--insecure"],
                      env={**a.environment(gateway.url), "TERM": "xterm"}) as terminal:
            shown = terminal.expect("success")
        assert "100%" in shown and not re.search(r"1[0-9][1-9]%|[2-9]\d\d%", shown)
        assert models(a)[name] == models(b)[name]
        assert a.command("rm", registry.model, host=gateway.url)[0] == 0


def test_a_pull_that_no_node_can_do_says_what_one_says(two):
    gateway, a, _ = two
    nowhere = "http://127.0.0.1:1/nobody/nothing"
    through, direct = (a.command("pull", nowhere, "--insecure", host=host) for host in (gateway.url, a.url))
    assert (through[0], through[2].split("Error: ")[-1]) == (direct[0], direct[2].split("Error: ")[-1])
