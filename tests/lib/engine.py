# SPDX-License-Identifier: Apache-2.0
"""The embedded engine (llama.cpp's server with a real 270M model) for system tests.

    def test_x(engine):         # the fixture: one engine for the whole run, embeddings on
        engine.url              # "http://127.0.0.1:PORT"
        engine.model            # the name it serves the model under
        engine.busy()           # slots that are generating now
        engine.wait_busy(1)     # until that many are, AssertionError at the deadline
"""
import contextlib
import ctypes
import http.client
import json
import pathlib
import selectors
import signal
import subprocess
import time

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools" / "engine"
MODEL = "gemma3:270m"
START_DEADLINE_S = 60


def die_with_parent():
    """In the child: a test run that is killed leaves no engine behind."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def read_line(stream, deadline_s):
    """The first line of a child's stdout; "" at its end or the deadline."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(deadline_s) else ""


class Engine:
    def __init__(self, parallel=4, embeddings=True, ctx=2048, port=0, tools=False):
        command = [TOOLS / "serve", "--port", str(port), "--parallel", str(parallel), "--ctx", str(ctx),
                   "--threads", "1"]  # a core remains for what is tested
        command += ["--embeddings"] if embeddings else []
        command += ["--tools"] if tools else []
        self.model, self.parallel = MODEL, parallel
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        text=True, preexec_fn=die_with_parent)
        line = read_line(self.process.stdout, START_DEADLINE_S)
        if not line.startswith("engine listening on "):
            self.stop()
            raise AssertionError("the engine did not start; has tools/engine/fetch run?")
        self.url = line.split()[3]
        self.port = int(self.url.rsplit(":", 1)[1])

    def get(self, path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def busy(self):
        return sum(slot["is_processing"] for slot in self.get("/slots"))

    def wait_busy(self, count, deadline_s=10):
        end = time.monotonic() + deadline_s
        while (busy := self.busy()) != count:
            assert time.monotonic() < end, f"{busy} slots are busy, not {count}, after {deadline_s} s"
            time.sleep(0.005)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def engine():
    subprocess.run([TOOLS / "fetch"], check=True)  # of no effect where `make test` runs the tests
    running = Engine()
    yield running
    running.stop()
