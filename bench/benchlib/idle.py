# SPDX-License-Identifier: Apache-2.0
"""What an idle connection costs: the memory of a server with thousands of them, less before. Each has had
one answer. Kernel memory (slabs of the whole machine, so all ends of all connections) apart."""
from benchlib import load, table
from benchlib.cases import HAPROXY, HTTP, MCP_EACH, NGINX, RELAY
from benchlib.figures import spread

TARGETS = (RELAY, NGINX, HAPROXY, HTTP, MCP_EACH)


def memory(result, connections):
    """Empty where not all connections were there."""
    if result["errors"]:
        return {}
    used = result["watched"]
    return {"rss_before_bytes": used["rss_before_bytes"], "rss_bytes": used["rss_bytes"],
            "bytes_per_connection": (used["rss_bytes"] - used["rss_before_bytes"]) / connections,
            "kernel_bytes_per_connection": (used["kernel_bytes"] - used["kernel_before_bytes"]) / connections}


def measure_one(bench, target, connections, hold_s):
    """A result, of a server of its own that has just been started and warmed up. None: there is none."""
    server = bench.start(target.server)
    if server is None:
        return None
    try:
        at = load.address(target, server)
        mcp = ["--mcp"] if target.mcp else []
        bench.load.run(at, [*mcp, "-c", 16, "-t", min(hold_s, 0.5), "--warmup", 0])
        return bench.load.run(at, [*mcp, "-c", connections, "--hold", "-t", hold_s, "--timeout", 30], server)
    finally:
        server.stop()


def measure(bench, targets, connections, hold_s, rounds):
    """([{target, connections, figures, rounds}], errors): all targets by turns, round after round."""
    results, errors = {target: [] for target in targets}, []
    for _ in range(rounds):
        for target in targets:
            result = measure_one(bench, target, connections, hold_s)
            if result is not None:
                results[target].append(result)
                if result["errors"]:
                    errors.append(f"idle, {target.name}: {result['errors']} errors, the first: {result['first_error']}")
    out = []
    for target, found in results.items():
        whole = [m for result in found if (m := memory(result, connections))]
        figures = {name: spread([m[name] for m in whole]) for name in (whole[0] if whole else ())}
        if found:
            out.append({"target": target.name, "connections": connections, "figures": figures, "rounds": found})
    return out, errors


def text(rows, simulated):
    def cell(row, name, unit=1):
        found = row["figures"].get(name)
        return None if found is None else found["median"] / unit
    connections = rows[0]["connections"] if rows else 0
    return table.plain_table(
        f"idle: {connections:,} connections that have had one answer each (simulated: {str(simulated).lower()})",
        ["target", "RSS before MiB", "RSS MiB", "bytes/conn", "kernel bytes/conn"],
        [[r["target"], cell(r, "rss_before_bytes", 2**20), cell(r, "rss_bytes", 2**20), cell(r, "bytes_per_connection"),
          cell(r, "kernel_bytes_per_connection")] for r in rows])
