# SPDX-License-Identifier: Apache-2.0
"""Embeddings that share calls, on the simulator's profile `seed`: one call at a time, each so long, and so much
longer for each of its inputs. What is possible follows from that."""
import dataclasses
import json
import pathlib
import subprocess

from benchlib import servers, table
from benchlib.figures import spread
from benchlib.servers import Failed, prepare_child

CALL_MS, ITEM_MS = 27.2, 1.36


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    clients: int
    batch: dict  # the configuration's
    most: int  # inputs of a call at most

    def ceiling(self):
        """Requests/s that no order of calls can be above."""
        n = min(self.most, self.clients)
        return 1000 * n / (CALL_MS + ITEM_MS * n)


ROWS = (Row("single", 4, {"embeddings": "off"}, 1),
        *(Row(f"B = {n}", 20 if n <= 8 else 40, {"max_items": n}, n) for n in (1, 2, 4, 8, 16, 32)),
        Row("adaptive", 20, {}, 20))


def load(bench, at, clients, seconds, warmup):
    run = subprocess.run([bench.build / "bench/bench-load", at, "--embed", "-c", str(clients), "-t", str(seconds),
                          "--warmup", str(warmup)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         preexec_fn=prepare_child, check=False)
    try:
        return json.loads(run.stdout)
    except json.JSONDecodeError:
        raise Failed(f"bench-load failed: {run.stderr.strip()}") from None


def measure_row(bench, sim, row, *times):
    config = pathlib.Path(bench.folder, "batch.yaml")
    config.write_text(json.dumps({"log": {"access": "off"}, "batch": row.batch}))
    gateway = servers.Server(bench.folder, "mcpgate-batch", [
        bench.build / "mcpgate", "serve", "-c", config, "--node", f"http://{sim}", "--http", "127.0.0.1:0",
        "--mcp", "off", "--admin", "off"], banner=rb"^ready$")
    try:
        return load(bench, gateway.address(r"http\s+"), row.clients, *times)
    finally:
        gateway.stop()


def measure(bench, seconds, warmup, rounds, progress):
    """([{row, clients, ceiling, requests_per_s, of_ceiling, mean_ms, p99_ms}], errors)"""
    results, errors = {row.name: [] for row in ROWS}, []
    sim = servers.Server(bench.folder, "sim-seed", [bench.build / "mcpgate", "sim", "--http", "127.0.0.1:0",
                                                    "--profile", "seed"], banner=rb"^ready$")
    try:
        at = sim.address(r"http\s+")
        for number in range(rounds):
            for row in ROWS:
                progress(f"batch: round {number + 1} of {rounds}, {row.name}")
                result = measure_row(bench, at, row, seconds, warmup)
                results[row.name].append(result)
                if result["errors"]:
                    errors.append(f"batch, {row.name}: {result['errors']} errors, the first: {result['first_error']}")
    finally:
        progress("")
        sim.stop()
    return [figures(row, results[row.name]) for row in ROWS], errors


def figures(row, results):
    return {"row": row.name, "clients": row.clients, "ceiling": row.ceiling(),
            "requests_per_s": spread([r["requests_per_s"] for r in results]),
            "of_ceiling": spread([r["requests_per_s"] / row.ceiling() for r in results]),
            "mean_ms": spread([r["latency_us"]["mean"] / 1000 for r in results]),
            "p99_ms": spread([r["latency_us"]["p99"] / 1000 for r in results])}


def text(rows, simulated):
    def of(row, key, digits):
        return table.number(row[key]["median"], digits)
    return table.plain_table(
        f"batch: embeddings, one call at a time of {CALL_MS} ms + {ITEM_MS} ms per input "
        f"(simulated: {str(simulated).lower()})",
        ["", "clients", "requests/s", "ceiling", "share", "mean ms", "p99 ms"],
        [[r["row"], str(r["clients"]), of(r, "requests_per_s", 1), r["ceiling"], of(r, "of_ceiling", 3),
          of(r, "mean_ms", 1), of(r, "p99_ms", 1)] for r in rows])
