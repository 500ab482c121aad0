# SPDX-License-Identifier: Apache-2.0
"""The bars that mcpgate is held to, as far as these results show them."""
from benchlib.cases import HAPROXY, HTTP, MCP_1, NGINX, RELAY

KIB = 1024


def median(case, target, figure):
    return case["summary"].get(target.name, {}).get(figure, {}).get("median")


def ratio(case, target, figure):
    return case["summary"].get(target.name, {}).get(figure, {}).get("ratio", {}).get("median")


def http_bars(case):
    yield f"HTTP at least 0.90 of the relay, {case['name']}", ratio(case, HTTP, "requests_per_s"), ">=", 0.9
    for other in (NGINX, HAPROXY):
        yield (f"HTTP above {other.name}, {case['name']}", median(case, HTTP, "requests_per_s"), ">",
               median(case, other, "requests_per_s"))


def bars_of(case):
    if not case["rate_per_s"]:
        yield from http_bars(case)
    if case["in_flight"] == 1 and case["parts"] == 1:
        yield ("added p50 below nginx's (us), short-1", median(case, HTTP, "added_p50_us"), "<",
               median(case, NGINX, "added_p50_us"))
    if case["name"] == "short-64":
        yield "MCP, 1 connection, at least 1.6 of the relay, short-64", ratio(case, MCP_1, "requests_per_s"), ">=", 1.6
    if case["name"].startswith("stream"):
        yield f"at most 3 us CPU per part, {case['name']}", median(case, HTTP, "cpu_us_per_part"), "<=", 3.0


def all_bars(results):
    for case in results.get("cases", ()):
        if RELAY.name in case["summary"]:
            yield from bars_of(case)
    for row in results.get("idle", ()):
        if row["target"].startswith("mcpgate"):
            yield f"idle connection at most 2 KiB, {row['target']}", row.get("bytes_per_connection"), "<=", 2.0 * KIB
    if start := results.get("start"):
        yield "ready in less than 30 ms", start["ready_ms"]["median"], "<", 30.0
        yield "idle RSS less than 12 MiB", start["idle_rss_mib"]["median"], "<", 12.0


def judge(results):
    """[{bar, value, relation, limit, met}]; those without a value are left out."""
    relations = {">=": lambda a, b: a >= b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b,
                 "<": lambda a, b: a < b}
    return [{"bar": bar, "value": value, "relation": relation, "limit": limit, "met": relations[relation](value, limit)}
            for bar, value, relation, limit in all_bars(results) if value is not None and limit is not None]


def text(judged):
    return "\n".join(["bars", *(f"  {'met   ' if b['met'] else 'MISSED'}  {b['bar']}: {b['value']:,.2f} "
                                f"{b['relation']} {b['limit']:,.2f}" for b in judged)])
