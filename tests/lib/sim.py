# SPDX-License-Identifier: Apache-2.0
"""`mcpgate sim` (MCPGATE_BIN), a simulated node, as a child process on a free port.

    with Sim("--profile", "seed") as sim, Gateway(sim) as gateway:
        sim.stats()["slots_busy"]
        sim.wait_stats(cancelled=1)

At the end SIGTERM must end it with status 0, and nothing on standard error.
"""
import json
import os
import signal
import subprocess
import tempfile

from engine import die_with_parent
from http_bytes import ask, wait_until


class Sim:
    def __init__(self, *args):
        command = [os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"), "sim", "--http", "127.0.0.1:0", *args]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                        stderr=self.errors, preexec_fn=die_with_parent)
        self.lines = []
        while (line := self.process.stdout.readline()) and line != "ready\n":
            self.lines.append(line.rstrip("\n"))
        if not line:
            self.errors.seek(0)
            said = self.errors.read().decode()
            self.kill()
            raise AssertionError(f"the simulated node did not start: {said}")
        host, port = self.lines[1].removeprefix("http   listening on ").rsplit(":", 1)
        self.address, self.url = (host, int(port)), f"http://{host}:{port}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        self.kill()

    def ask(self, method, path, body=None, headers=()):
        return ask(self.address, method, path, body, headers)

    def generate(self, **body):
        """The last part of a streamed answer."""
        return self.ask("POST", "/api/generate", {"model": "m", "prompt": "a", **body}).lines()[-1]

    def stats(self):
        return self.ask("GET", "/sim/stats").json()

    def wait_stats(self, **values):
        def hold():
            stats = self.stats()
            return all(stats[name] == value for name, value in values.items())
        wait_until(hold, lambda: f"{values} in {self.stats()}")

    def loaded(self):
        return [model["name"] for model in self.ask("GET", "/api/ps").json()["models"]]

    def stop(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        status = self.process.wait(20)
        self.errors.seek(0)
        said = self.errors.read().decode()
        assert (status, said) == (0, ""), said

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def body_of(prompt="a", model="m", **options):
    """A request to generate; the options are those of its body's `options`."""
    return {"model": model, "prompt": prompt, "options": options}


def words(parts):
    """The text of a stream's parts."""
    return "".join(part.get("response", part.get("message", {}).get("content", "")) for part in parts)


def encoded(events):
    """The objects of an event stream; [DONE] stays text."""
    data = [event.removeprefix(b"data: ") for event in events]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in data]
