# SPDX-License-Identifier: Apache-2.0
"""From starting `mcpgate serve` with a node that answers to its line "ready", and what it holds then."""
import os
import time

from benchlib import table
from benchlib.figures import spread

SETTLE_S = 0.2


def rss_bytes(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def measure(bench, times):
    ready_ms, rss = [], []
    for _ in range(times):
        server = bench.start("mcpgate")
        ready_ms.append(server.ready_s * 1000)
        time.sleep(SETTLE_S)  # what start-up alone needed is given back
        rss.append(rss_bytes(server) / 1e6)
        server.stop()
    return {"times": times, "ready_ms": spread(ready_ms), "idle_rss_mb": spread(rss)}


def text(result, simulated):
    return table.plain_table(
        f"start: mcpgate, {result['times']} times (simulated: {str(simulated).lower()})",
        ["", "median", "least", "most"],
        [[name, *(result[key][k] for k in ("median", "min", "max"))]
         for name, key in (("until ready, ms", "ready_ms"), ("idle RSS, MB", "idle_rss_mb"))])
