# SPDX-License-Identifier: Apache-2.0
"""One run of bench-load, and the system calls of a server meanwhile."""
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

from benchlib.servers import Failed, prepare_child

MODELS = ("m", "m:latest")  # one model, two spellings: an answer to somebody else's request shows
CALLS_S = (0.3, 1.0)


def ask(at, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{at}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


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


def slope(one, other):
    """Of (calls, requests); of their sums where the two are too near to each other."""
    if abs(other[1] - one[1]) < 0.1 * max(one[1], other[1], 1):
        return (one[0] + other[0]) / max(1, one[1] + other[1])
    return (other[0] - one[0]) / (other[1] - one[1])


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
        """The result of bench-load. Errors are in it."""
        run = subprocess.run(self.command(at, options, watched), stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, preexec_fn=prepare_child, check=False)
        try:
            return json.loads(run.stdout)
        except json.JSONDecodeError:
            raise Failed(f"bench-load failed: {run.stderr.strip()}") from None

    def wait_idle(self, deadline_s=5):
        """How many calls the simulator still works on at the deadline; aborted ones must end."""
        deadline = time.monotonic() + deadline_s
        while True:
            n = ask(self.sim.at, "/sim/stats")
            running = n["calls"] - n["done"] - n["cancelled"] - n["refused"] - n["faults"]
            if running <= 0 or time.monotonic() > deadline:
                return running
            time.sleep(0.01)

    # system calls
    def count_with_perf(self, command, server):
        pids = ",".join(map(str, server.pids()))
        with tempfile.NamedTemporaryFile("r") as out:
            run = subprocess.run(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", out.name, "-p", pids,
                                  "--", *command], capture_output=True, text=True, check=False)
            found = re.search(r"^(\d+),,raw_syscalls:sys_enter", out.read(), re.M)
        return (int(found[1]), json.loads(run.stdout)) if found else None

    def count_with_strace(self, command, server):
        with tempfile.NamedTemporaryFile("r") as out:
            trace = subprocess.Popen(["strace", "-f", "-c", "-o", out.name,
                                      *(w for pid in server.pids() for w in ("-p", str(pid)))],
                                     stderr=subprocess.PIPE, text=True)
            trace.stderr.readline()  # "attached"
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            trace.send_signal(2)
            trace.communicate()
            found = re.search(r"^\s*100\.00\s+\S+\s+\d+\s+(\d+).*total$", out.read(), re.M)
        return (int(found[1]), json.loads(run.stdout)) if found else None

    def calls_per_request(self, at, options, server):
        """(system calls per request, results of the runs): of two runs of different length, what one adds, so
        that opening connections does not count. (None, ...): they cannot be counted here."""
        for tool, count in (("perf", self.count_with_perf), ("strace", self.count_with_strace)):
            if not shutil.which(tool):
                continue
            counted = [count(self.command(at, [*options, "-t", s, "--warmup", 0]), server) for s in CALLS_S]
            if None not in counted:
                runs = [(calls, result["requests_all"]) for calls, result in counted]
                return slope(*runs), [result for _, result in counted]
        return None, []
