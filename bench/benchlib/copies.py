# SPDX-License-Identifier: Apache-2.0
"""How much of a stream a gateway copies in user space: bench/copies.c is preloaded into one of its own.
What longer streams add to shorter ones counts, so that the head of an answer and its request do not."""
import struct

from benchlib import load, servers, table
from benchlib.cases import HTTP, MCP_1

TARGETS = (HTTP, MCP_1)
IN_FLIGHT = 64
PARTS = (32, 256)
SECONDS = 0.5


def read(counted):
    return struct.unpack("QQ", counted.read_bytes())


def per_request(bench, target, server, counted, parts):
    """(bytes copied, bytes received, result) per request with so many parts."""
    before = read(counted)
    result = bench.load.run(load.address(target, server), [*load.shape(target, IN_FLIGHT), "-p", parts, "--gap", 0,
                                                           "-t", SECONDS, "--warmup", 0])
    copied = read(counted)[0] - before[0]
    return copied / max(1, result["requests_all"]), result["bytes"] / max(1, result["parts"]) * parts, result


def measure(bench):
    """({target: figures}, errors, why there are none)."""
    library = bench.build / "bench/libbench-copies.so"
    if not library.exists():
        return {}, [], "bench/copies.c is not built"
    counted = bench.folder / "copies"
    counted.write_bytes(bytes(16))
    try:
        server = servers.start_mcpgate(bench.build, bench.folder, bench.sim.at, "mcpgate-copies",
                                       env={"LD_PRELOAD": str(library), "MCPGATE_BENCH_COPIES": str(counted)})
    except servers.Failed as failure:
        return {}, [], str(failure)
    out, errors = {}, []
    try:
        for target in TARGETS:
            few, many = (per_request(bench, target, server, counted, parts) for parts in PARTS)
            for _, _, result in (few, many):
                if result["errors"]:
                    errors.append(f"copies, {target.name}: {result['errors']} errors, the first: "
                                  f"{result['first_error']}")
            more = PARTS[1] - PARTS[0]
            out[target.name] = {"bytes_copied_per_part": (many[0] - few[0]) / more,
                                "bytes_per_part": (many[1] - few[1]) / more,
                                "copied_share": (many[0] - few[0]) / max(1, many[1] - few[1])}
    finally:
        server.stop()
    return out, errors, None


def text(measured, simulated):
    return table.plain_table(
        f"copies: streams, {IN_FLIGHT} in flight, what a part adds (simulated: {str(simulated).lower()})",
        ["target", "bytes", "bytes copied in user space", "share %"],
        [[name, m["bytes_per_part"], m["bytes_copied_per_part"], 100 * m["copied_share"]]
         for name, m in measured.items()])
