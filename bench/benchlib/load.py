# SPDX-License-Identifier: Apache-2.0
"""One run of bench-load."""
import json
import subprocess
import time
import urllib.request

from benchlib.servers import Failed, prepare_child

MODELS = ("m", "m:latest")  # one model, two spellings: an answer to somebody else's request shows


def ask(at, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{at}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def run(command):
    """The result of bench-load. Errors are in it."""
    found = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           preexec_fn=prepare_child, check=False)
    try:
        return json.loads(found.stdout)
    except json.JSONDecodeError:
        raise Failed(f"bench-load failed: {found.stderr.strip()}") from None


def right_text(sim_at, parts):
    """What the simulator says to the load's prompt."""
    body = {"model": MODELS[0], "prompt": "Why is the sky blue?", "stream": False}
    if parts:
        body["options"] = {"num_predict": parts - 1}
    return ask(sim_at, "/api/generate", body)["response"]


def shape(target, in_flight):
    """The options for so many requests in flight."""
    if target.mcp == 0:
        return ["-c", in_flight]
    conns = in_flight if target.mcp < 0 else min(target.mcp, in_flight)
    return ["--mcp", "-c", conns, "-s", max(1, in_flight // conns)]


def address(target, server):
    return server.mcp_at if target.mcp else server.at


class Load:
    def __init__(self, build, sim):
        self.binary, self.sim = build / "bench/bench-load", sim
        self.texts = {}

    def text(self, options):
        parts = options[options.index("-p") + 1] if "-p" in options else 0
        if parts not in self.texts:
            self.texts[parts] = right_text(self.sim.at, parts)
        return self.texts[parts]

    def command(self, at, options, watched=None):
        words = [self.binary, at, *options, "--text", self.text(options)]
        for model in MODELS:
            words += ["-m", model]
        for pid in watched.pids() if watched else ():
            words += ["-w", pid]
        return [str(word) for word in words]

    def run(self, at, options, watched=None):
        return run(self.command(at, options, watched))

    def wait_idle(self, deadline_s=5):
        """How many calls the simulator still works on at the deadline; aborted ones must end."""
        deadline = time.monotonic() + deadline_s
        while True:
            n = ask(self.sim.at, "/sim/stats")
            running = n["calls"] - n["done"] - n["cancelled"] - n["refused"] - n["faults"]
            if running <= 0 or time.monotonic() > deadline:
                return running
            time.sleep(0.01)
