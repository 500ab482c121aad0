# SPDX-License-Identifier: Apache-2.0
"""Embeddings that share calls: what clients get through the gateway, by how many inputs a call may have. On the
simulator's profile `seed` (one call at a time, each so long, and so much longer for each of its inputs) it
follows from that what is possible; what a real engine makes of it is seen."""
import dataclasses
import json
import pathlib

from benchlib import engines, load, servers, table
from benchlib.figures import spread


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    clients: int
    batch: dict  # the configuration's
    most: int  # inputs of a call at most

    def ceiling(self, engine):
        """Requests/s that no order of calls can be above; None: not known."""
        n = min(self.most, self.clients)
        return 1000 * n / (engine.call_ms + engine.item_ms * n) if engine.call_ms else None


ROWS = (Row("single", 4, {"embeddings": "off"}, 1),
        *(Row(f"B = {n}", 20 if n <= 8 else 40, {"max_items": n}, n) for n in (1, 2, 4, 8, 16, 32)),
        Row("adaptive", 20, {}, 20))
ALONE = Row("left alone", 20, {"embeddings": "off"}, 1)
LENGTHS = (Row("any lengths", 20, {"by_length": False}, 20), Row("like lengths", 20, {}, 20))


def rows_of(name):
    return {"seed": ROWS, "pads": LENGTHS}.get(name, (*ROWS, ALONE))


def measure_row(bench, engine, at, row, seconds, warmup):
    config = pathlib.Path(bench.folder, "batch.yaml")
    batch = {**({} if engine.simulated else {"embeddings": "on"}), **row.batch}
    config.write_text(json.dumps({"log": {"access": "off"}, "batch": batch}))
    gateway = servers.Server(bench.folder, "mcpgate-batch", [
        bench.build / "mcpgate", "serve", "-c", config, "--node", f"http://{at}", "--http", "127.0.0.1:0",
        "--mcp", "off", "--admin", "off"], banner=rb"^ready$")
    try:
        return load.run([bench.build / "bench/bench-load", gateway.address(r"http\s+"), "--embed", "-c", row.clients,
                         "-t", seconds, "--warmup", warmup, "-m", engine.model, "--timeout", 120,
                         *(("--long", engine.words) if engine.words else ())])
    finally:
        gateway.stop()


def measure(bench, name, seconds, warmup, rounds, progress):
    """([{row, clients, ceiling, requests_per_s, of_ceiling, mean_ms, p99_ms}], errors)"""
    engine, rows = engines.ENGINES[name], rows_of(name)
    results, errors = {row.name: [] for row in rows}, []
    with engines.running(bench, name) as at:
        for number in range(rounds):
            for row in rows:
                progress(f"batch: round {number + 1} of {rounds}, {row.name}")
                result = measure_row(bench, engine, at, row, seconds, warmup)
                results[row.name].append(result)
                if result["errors"]:
                    errors.append(f"batch, {row.name}: {result['errors']} errors, the first: {result['first_error']}")
        progress("")
    return [figures(row, row.ceiling(engine), results[row.name]) for row in rows], errors


def figures(row, ceiling, results):
    found = {"row": row.name, "clients": row.clients, "ceiling": ceiling,
             "requests_per_s": spread([r["requests_per_s"] for r in results]),
             "mean_ms": spread([r["latency_us"]["mean"] / 1000 for r in results]),
             "p99_ms": spread([r["latency_us"]["p99"] / 1000 for r in results])}
    if ceiling:
        found["of_ceiling"] = spread([r["requests_per_s"] / ceiling for r in results])
    return found


def text(name, rows):
    def of(row, key, digits):
        return table.number(row[key]["median"], digits) if key in row else "-"
    engine = engines.ENGINES[name]
    return table.plain_table(
        f"batch: embeddings, {engine.what} (simulated: {str(engine.simulated).lower()})",
        ["", "clients", "requests/s", "ceiling", "share", "mean ms", "p99 ms"],
        [[r["row"], str(r["clients"]), of(r, "requests_per_s", 1), r["ceiling"] or "-", of(r, "of_ceiling", 3),
          of(r, "mean_ms", 1), of(r, "p99_ms", 1)] for r in rows])
