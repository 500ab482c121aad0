# SPDX-License-Identifier: Apache-2.0
"""`mcpgate serve` (MCPGATE_BIN) as a child process, on free ports, with its log, metrics and memory.

    with Gateway(node, config={"timeouts": {"drain": "1s"}}) as gateway:
        gateway.mcp, gateway.http, gateway.admin       # (host, port)
        gateway.metric("mcpgate_parts_total")
        gateway.wait_access(lambda line: line["op"] == "chat")

At the end it must exit 0, with no bug and no sanitizer's report among its lines.
"""
import json
import os
import pathlib
import re
import resource
import shlex
import signal
import subprocess
import tempfile
import threading

from engine import die_with_parent
from http_bytes import ask, wait_until

BAD_LINES = re.compile(r"bug:|runtime error|Sanitizer|SUMMARY:|Assertion|out of memory")
LOOPBACK = "127.0.0.1:0"
BACKEND = os.environ.get("MCPGATE_BACKEND")  # for running any test on another one: io_uring


class Gateway:
    def __init__(self, *nodes, config=None, args=(), faces=("mcp", "http", "admin"), wait=True, env=None,
                 log_to_file=True, open_files=None, in_child=None):
        """`nodes`: scripted nodes or URLs. `config`: what goes into its file. `wait`: until it is ready;
        else only until it listens. Without `log_to_file` the config says where the access log goes.
        `open_files`: the limit that it starts with. `in_child`: called there before it is executed."""
        self.folder = tempfile.TemporaryDirectory(prefix="mcpgate-test-")
        folder = pathlib.Path(self.folder.name)
        self.access_path, self.error_path = folder / "access", folder / "stderr"
        command = [os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"), "serve"]
        command += ["--access-log", str(self.access_path)] if log_to_file else []
        command += ["--backend", BACKEND] if BACKEND else []
        for face in ("mcp", "http", "admin"):
            command += [f"--{face}", LOOPBACK if face in faces else "off"]
        for node in nodes:
            command += ["--node", getattr(node, "url", node)]
        if config is not None:
            (folder / "mcpgate.yaml").write_text(json.dumps(config))  # JSON is YAML
            (folder / "mcpgate.yaml").chmod(0o600)
            command += ["-c", str(folder / "mcpgate.yaml")]
        keys = (config or {}).get("keys", [])
        self.key_headers = [("Authorization", f"Bearer {keys[0]['key']}")] if keys else []
        self.lines, self.addresses, self.seen = [], {}, threading.Condition()
        self.ended = False  # wait_exit() has judged it

        def prepare():
            die_with_parent()
            if open_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
            if in_child:
                in_child()
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen([*command, *args], stdin=subprocess.DEVNULL, stderr=errors,
                                            stdout=subprocess.PIPE, preexec_fn=prepare,
                                            env={**os.environ, "STATE_DIRECTORY": str(folder / "state"), **(env or {})})
        self.thread = threading.Thread(target=self.read_lines, daemon=True)
        self.thread.start()
        try:
            self.wait_line(r"ready$" if wait else "|".join(f"{face} +listening" for face in faces[-1:]))
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and not self.ended:
            self.stop()
        else:
            self.kill()

    # the banner
    def read_lines(self):
        for line in self.process.stdout:
            text = line.decode().rstrip("\n")
            listening = re.match(r"(mcp|http|admin)\s+listening on (.*):(\d+)$", text)
            with self.seen:
                self.lines.append(text)
                if listening:
                    self.addresses[listening[1]] = (listening[2], int(listening[3]))
                self.seen.notify_all()

    def wait_line(self, pattern, deadline_s=20):
        def found():
            return next((line for line in self.lines if re.match(pattern, line)), None)
        with self.seen:
            self.seen.wait_for(lambda: found() or self.process.poll() is not None, deadline_s)
            assert found(), f"no line {pattern!r} in {self.lines}; stderr: {self.errors()}"
            return found()

    @property
    def mcp(self):
        return self.addresses["mcp"]

    @property
    def http(self):
        return self.addresses["http"]

    @property
    def admin(self):
        return self.addresses["admin"]

    @property
    def url(self):
        return "http://%s:%d" % self.http

    # what it tells
    def errors(self):
        return self.error_path.read_text(errors="replace")

    def access(self):
        """The lines of the access log as dictionaries."""
        if not self.access_path.exists():
            return []
        whole = self.access_path.read_text(errors="replace").split("\n")[:-1]
        return [dict(word.split("=", 1) for word in shlex.split(line)) for line in whole]

    def wait_access(self, matches, count=1):
        """The `count`-th line for which matches(line) holds."""
        def found():
            lines = [line for line in self.access() if matches(line)]
            return lines[count - 1] if len(lines) >= count else None
        return wait_until(found, lambda: f"a line in the access log: {self.access()}")

    def metrics(self):
        """{'name{labels}': value}"""
        text = ask(self.admin, "GET", "/metrics", headers=self.key_headers).body.decode()
        return {name: float(value) for name, value in re.findall(r"^(mcpgate\S*) (\S+)$", text, re.M)}

    def metric(self, name):
        return self.metrics()[name]

    def wait_metric(self, name, value):
        wait_until(lambda: self.metric(name) == value, lambda: f"{name} is {self.metric(name)}, not {value}")

    def wait_idle(self):
        """Nothing is in flight."""
        self.wait_metric("mcpgate_exchanges_running", 0)

    def ready_status(self):
        return ask(self.admin, "GET", "/readyz").status

    def rss_bytes(self):
        """Resident memory now."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024

    # its end
    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, deadline_s=20):
        """Waits until it has ended by itself, and judges that."""
        status = self.process.wait(deadline_s)
        self.ended = True
        self.thread.join()
        errors = self.errors()
        bad = [line for line in errors.splitlines() if BAD_LINES.search(line)]
        self.clean_up()
        assert not bad, errors
        assert status == 0, f"exit status {status}: {errors}"

    def stop(self):
        assert self.process.poll() is None, f"it ended before the test: {self.errors()}"
        self.terminate()
        try:
            self.wait_exit()
        finally:
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.thread.join()
        self.clean_up()

    def clean_up(self):
        if self.process.stdout:
            self.process.stdout.close()
            self.process.stdout = None
        self.folder.cleanup()
