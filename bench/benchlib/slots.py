# SPDX-License-Identifier: Apache-2.0
"""How long a node's slots have nothing to do while requests wait in the gateway: from when the simulator has written
an answer's end to the next request, by its own clock. With and without connections that stand ready."""
import json
import pathlib

from benchlib import load, servers, table
from benchlib.figures import spread

SLOTS, CLIENTS = 4, 16
ROWS = {"ready": True, "not ready": False}
SIM = ("--slots", str(SLOTS), "--decode-us", "1000", "--tokens", "8")


def measure_row(bench, prepare, seconds, warmup):
    sim = servers.Server(bench.folder, "sim-slots", [bench.build / "mcpgate", "sim", "--http", "127.0.0.1:0", *SIM],
                         banner=rb"^ready$")
    try:
        config = pathlib.Path(bench.folder, "slots.yaml")
        at = sim.address(r"http\s+")
        config.write_text(json.dumps({"log": {"access": "off"}, "queue": {"prepare": prepare},
                                      "nodes": [{"url": f"http://{at}", "slots": SLOTS}]}))
        gateway = servers.Server(bench.folder, "mcpgate-slots", [
            bench.build / "mcpgate", "serve", "-c", config, "--http", "127.0.0.1:0", "--mcp", "off", "--admin", "off"],
            banner=rb"^ready$")
        try:
            result = load.run([bench.build / "bench/bench-load", gateway.address(r"http\s+"), "-c", CLIENTS, "-p", "9",
                               "-t", seconds, "--warmup", warmup])
        finally:
            gateway.stop()
        return {**result, "gap_us": load.ask(at, "/sim/stats")["slot_gap_us"]}
    finally:
        sim.stop()


def measure(bench, seconds, warmup, rounds, progress):
    """([{row, requests_per_s, p50_us, p99_us}], errors)"""
    results, errors = {name: [] for name in ROWS}, []
    for number in range(rounds):
        for name, prepare in ROWS.items():
            progress(f"slots: round {number + 1} of {rounds}, {name}")
            result = measure_row(bench, prepare, seconds, warmup)
            results[name].append(result)
            if result["errors"]:
                errors.append(f"slots, {name}: {result['errors']} errors, the first: {result['first_error']}")
    progress("")
    return [{"row": name, "requests_per_s": spread([r["requests_per_s"] for r in found]),
             "p50_us": spread([r["gap_us"]["p50"] for r in found]),
             "p99_us": spread([r["gap_us"]["p99"] for r in found])} for name, found in results.items()], errors


def text(rows):
    def of(row, key, digits=0):
        return table.number(row[key]["median"], digits)
    return table.plain_table(
        f"slots: {SLOTS} of a simulated node, {CLIENTS} clients; between an answer's end and the next request "
        "(simulated: true)",
        ["connections", "requests/s", "gap p50 us", "gap p99 us"],
        [[r["row"], of(r, "requests_per_s", 1), of(r, "p50_us"), of(r, "p99_us")] for r in rows])
