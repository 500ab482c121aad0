# SPDX-License-Identifier: Apache-2.0
"""What a server does per request, counted in short runs of their own as counting takes time: its system
calls, and what it sends to its clients."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

RUNS_S = (0.3, 1.0)
TRACING = pathlib.Path("/sys/kernel/tracing")
TRACE_KIB = 8192  # of each CPU: 300,000 events
WRITES = "write,writev,sendto,sendmsg,sendmmsg"
ESTABLISHED, CLOSED = "1", "7"


def slope(one, other):
    """Of (count, requests); of their sums where the two are too near to each other."""
    if abs(other[1] - one[1]) < 0.1 * max(one[1], other[1], 1):
        return mean(one, other)
    return (other[0] - one[0]) / (other[1] - one[1])


def mean(one, other):
    return (one[0] + other[0]) / max(1, one[1] + other[1])


def run_load(command, before=()):
    run = subprocess.run([*before, *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return json.loads(run.stdout)


@contextlib.contextmanager
def strace(server, out, *options):
    trace = subprocess.Popen(["strace", "-f", *options, "-o", out, *(w for p in server.pids() for w in ("-p", str(p)))],
                             stderr=subprocess.PIPE, text=True)
    trace.stderr.readline()  # "attached"
    try:
        yield
    finally:
        trace.send_signal(2)
        trace.communicate()


# --- system calls: None where the tool cannot count here
def calls_by_perf(command, server, _port):
    pids = ",".join(map(str, server.pids()))
    with tempfile.NamedTemporaryFile("r") as out:
        result = run_load(command, ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", out.name, "-p", pids,
                                    "--"])
        found = re.search(r"^(\d+),,raw_syscalls:sys_enter", out.read(), re.M)
    return (int(found[1]), result) if found else None


def calls_by_strace(command, server, _port):
    with tempfile.NamedTemporaryFile("r") as out:
        with strace(server, out.name, "-c"):
            result = run_load(command)
        found = re.search(r"^\s*100\.00\s+\S+\s+\d+\s+(\d+).*total$", out.read(), re.M)
    return (int(found[1]), result) if found else None


# --- sends to clients
def sends_in_trace(lines, port):
    """Of sockets that became connections to `port` here. None: the kernel's buffer was too small."""
    ours, sends = set(), 0
    for line in lines:
        if found := re.search(r"sock_send_length: sk=(\w+) .*\bret=\w+ \((-?\d+)\)", line):
            sends += found[1] in ours and int(found[2]) > 0
        elif found := re.search(rf"inet_sock_set_state: skaddr=(\w+) .*newstate=\w+ \((\d+)\) sport=\w+ \({port}\)",
                                line):
            if found[2] == ESTABLISHED:
                ours.add(found[1])
            elif found[2] == CLOSED:
                ours.discard(found[1])
        elif (found := re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)", line)) and found[1] != found[2]:
            return None
    return sends


def sends_by_tracing(command, _server, port):
    """By the kernel's own events, so whatever way a send came: system call or io_uring. Linux 6.4, root."""
    ours = TRACING / "instances" / f"mcpgate-bench-{os.getpid()}"
    events = ours / "events/sock"
    try:
        ours.mkdir()
    except OSError:
        return None
    try:
        for file, text in ((ours / "options/fields", "1"), (ours / "buffer_size_kb", str(TRACE_KIB)),
                           (events / "inet_sock_set_state/filter", f"sport == {port}"),
                           (events / "inet_sock_set_state/enable", "1"), (events / "sock_send_length/enable", "1")):
            file.write_text(text)
        result = run_load(command)
        (ours / "tracing_on").write_text("0")
        with open(ours / "trace", encoding="utf-8", errors="replace") as trace:
            sends = sends_in_trace(trace, port)
    except OSError:
        sends = None
    finally:
        ours.rmdir()
    return (sends, result) if sends else None


def sends_by_strace(command, server, port):
    with tempfile.NamedTemporaryFile("r") as out:
        with strace(server, out.name, "-yy", "-e", f"trace={WRITES}"):
            result = run_load(command)
        sends = sum(1 for line in out if re.search(rf"\(\d+<TCP(v6)?:\[\S+:{port}->", line))
    return (sends, result) if sends else None  # none: it sends by io_uring


# (ways, how runs of different length become one figure). Opening connections is many system calls, and few sends.
CALLS = ((("perf", calls_by_perf), ("strace", calls_by_strace)), slope)
SENDS = ((("tracing", sends_by_tracing), ("strace", sends_by_strace)), mean)


def per_request(what, load, at, options, server):
    """(how many per request, results of the runs, the way): CALLS or SENDS by the first way that works here.
    (None, results, None): none does."""
    (ways, combine), port, results = what, int(at.rsplit(":", 1)[1]), []
    for way, count in ways:
        if way != "tracing" and not shutil.which(way):
            continue
        counted = []
        for seconds in RUNS_S:
            one = count(load.command(at, [*options, "-t", seconds, "--warmup", 0]), server, port)
            if one is None:
                break
            counted.append(one)
        results += [result for _, result in counted]
        if len(counted) == len(RUNS_S):
            return combine(*((n, result["requests_all"]) for n, result in counted)), results, way
    return None, results, None
