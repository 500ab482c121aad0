# SPDX-License-Identifier: Apache-2.0
"""What an idle connection costs: the memory of a server with thousands of them, less before. Each has had
one answer. Kernel memory (slabs of the whole machine, so all ends of all connections) apart."""
from benchlib import load, table
from benchlib.cases import HAPROXY, HTTP, MCP_EACH, NGINX, RELAY

TARGETS = (RELAY, NGINX, HAPROXY, HTTP, MCP_EACH)


def memory(result, connections):
    """Empty where not all connections were there."""
    if result["errors"]:
        return {}
    used = result["watched"]
    return {"rss_before_bytes": used["rss_before_bytes"], "rss_bytes": used["rss_bytes"],
            "bytes_per_connection": (used["rss_bytes"] - used["rss_before_bytes"]) / connections,
            "kernel_bytes_per_connection": (used["kernel_bytes"] - used["kernel_before_bytes"]) / connections}


def measure(bench, connections, hold_s):
    """Each target is a server of its own, just started and warmed up."""
    out, errors = [], []
    for target in TARGETS:
        server = bench.start(target.server)
        if server is None:
            continue
        try:
            at = load.address(target, server)
            mcp = ["--mcp"] if target.mcp else []
            bench.load.run(at, [*mcp, "-c", 16, "-t", min(hold_s, 0.5), "--warmup", 0])
            result = bench.load.run(at, [*mcp, "-c", connections, "--hold", "-t", hold_s, "--timeout", 30], server)
        finally:
            server.stop()
        if result["errors"]:
            errors.append(f"idle, {target.name}: {result['errors']} errors, the first: {result['first_error']}")
        out.append({"target": target.name, "connections": connections, **memory(result, connections), "result": result})
    return out, errors


def mib(n):
    return None if n is None else n / 2**20


def text(rows, simulated):
    connections = rows[0]["connections"] if rows else 0
    return table.plain_table(
        f"idle: {connections:,} connections that have had one answer each (simulated: {str(simulated).lower()})",
        ["target", "RSS before MiB", "RSS MiB", "bytes/conn", "kernel bytes/conn"],
        [[r["target"], mib(r.get("rss_before_bytes")), mib(r.get("rss_bytes")), r.get("bytes_per_connection"),
          r.get("kernel_bytes_per_connection")] for r in rows])
