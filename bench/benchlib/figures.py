# SPDX-License-Identifier: Apache-2.0
"""From results of bench-load to figures, their medians over the rounds, and ratios to the relay."""
import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Figure:
    name: str
    head: str
    digits: int  # behind the point
    more_is_better: bool = False


FIGURES = (
    Figure("requests_per_s", "req/s", 0, True),
    Figure("p50_us", "p50 us", 0),
    Figure("added_p50_us", "added p50", 0),
    Figure("p99_us", "p99 us", 0),
    Figure("p99.9_us", "p99.9 us", 0),
    Figure("cpu_us", "CPU us/req", 2),
    Figure("cpu_us_per_part", "CPU us/part", 2),
    Figure("sends_per_part", "sends/part", 2),
    Figure("switches", "switches/req", 2),
    Figure("calls", "syscalls/req", 2),
    Figure("rss_mib", "RSS MiB", 1),
)


def figures_of(result, parts, direct=None):
    """The figures of one result; `direct`: that of the same case and round without anything between."""
    requests = max(1, result["requests"])
    latency = result["latency_us"]
    out = {"requests_per_s": result["requests_per_s"], "p50_us": latency["p50"], "p99_us": latency["p99"],
           "p99.9_us": latency["p99.9"], "max_us": latency["max"], "first_part_p50_us": result["first_part_us"]["p50"],
           "late_p99_us": result["late_us"]["p99"], "load_cpu_us": result["own_cpu_us"] / requests}
    if direct and direct is not result:
        out["added_p50_us"] = latency["p50"] - direct["latency_us"]["p50"]
    if watched := result.get("watched"):
        out["cpu_us"] = watched["cpu_us"] / requests
        if watched["cpu_us"] > 0:
            out["requests_per_cpu_s"] = result["requests"] * 1e6 / watched["cpu_us"]
        if parts > 1:
            out["cpu_us_per_part"] = watched["cpu_us"] / max(1, result["parts"])
        out["switches"] = (watched["switches_voluntary"] + watched["switches_involuntary"]) / requests
        out["rss_mib"] = watched["rss_bytes"] / 2**20
    return out


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(rounds):
    """`rounds`: [{target: figures}] of one case. {target: {figure: {median, min, max, ratio: {...}}}};
    a ratio is taken within a round, where both ran under the same conditions."""
    out = {}
    for target in rounds[0]:
        out[target] = {}
        for name in rounds[0][target]:
            values = [r[target][name] for r in rounds]
            out[target][name] = spread(values)
            floor = [r.get("relay", {}).get(name) for r in rounds]
            if target != "relay" and all(f is not None and f > 0 for f in floor):
                out[target][name]["ratio"] = spread([v / f for v, f in zip(values, floor)])
    return out
