# SPDX-License-Identifier: Apache-2.0
"""The bars that mcpgate is held to, and whether they hold. A comparison is made within each round; the
median of the rounds decides."""
import dataclasses

from benchlib import batch, cases, queues, table
from benchlib.cases import DIRECT, EPOLL, HAPROXY, HTTP, IO_URING, MCP_1, MCP_EACH, NGINX, RELAY
from benchlib.figures import spread

LEAST_ROUNDS = 5
HOLDS = {">=": lambda a, b: a >= b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}
STREAMS = [c.name for c in cases.STREAMS]
CLOSED = [c.name for c in (*cases.SHORT, *cases.STREAMS, *cases.ABORTS)]
ONE_IN_FLIGHT = [c.name for c in cases.SHORT if c.in_flight == 1]
BATCHES = [row.name for row in batch.ROWS if row.name.startswith("B")]
# There the node sets the pace, so that requests/s can be no better than the others', only worse.
PACED = {"stream-1ms-1"}
LIKE = 0.99
# A few of the sends of a run are not for parts: MCP greets and echoes heartbeats.
ONE_SEND = 1.005
# Of the copies of 64 bytes and more some are by chance for other ends.
NO_COPY = 0.05


@dataclasses.dataclass
class Bar:
    group: str
    title: str
    where: str
    relation: str
    limit: float
    value: dict | None = None  # median, min, max
    servers: tuple = ()  # why there is no value

    def holds(self):
        return None if self.value is None else HOLDS[self.relation](self.value["median"], self.limit)


def divided(a, b):
    return a / b if b > 0 else None


def less(a, b):
    return a - b


class Found:
    """The figures of the results."""

    def __init__(self, results):
        self.cases = {case["name"]: case for case in results.get("cases", ())}
        self.idle = {row["target"]: row for row in results.get("idle", ())}
        self.start = results.get("start", {})
        self.copies = results.get("copies", {})
        self.slots = {row["row"]: row for row in results.get("slots", ())}
        self.batch = {row["row"]: row for row in results.get("batch", ())}
        self.queue = results.get("queue", {})

    def compared(self, case, figure, target, other, compare=divided):
        """Within each round: the target to another."""
        rounds = self.cases.get(case, {}).get("figures", ())
        pairs = [(r.get(target.name, {}).get(figure), r.get(other.name, {}).get(figure)) for r in rounds]
        values = [None if None in pair else compare(*pair) for pair in pairs]
        return spread(values) if values and None not in values else None

    def summed(self, case, figure, target):
        found = self.cases.get(case, {}).get("summary", {}).get(target.name, {}).get(figure)
        return found and {k: found[k] for k in ("median", "min", "max")}

    def copied(self, target):
        found = self.copies.get(target.name)
        return found and spread([found["copied_share"]])


def simulator(f):
    for case in ("short-64", "short-256"):
        yield Bar("simulator", "direct / relay, requests/s", case, ">=", 1.5,
                  f.compared(case, "requests_per_s", DIRECT, RELAY))


def http(f):
    for other in (RELAY, NGINX, HAPROXY):
        for case in CLOSED:
            relation, limit = (">=", 0.9) if other is RELAY else (">=", LIKE) if case in PACED else (">", 1)
            yield Bar("http", f"HTTP / {other.name}, requests/s", case, relation, limit,
                      f.compared(case, "requests_per_s", HTTP, other), (other.server,))
    for case in ONE_IN_FLIGHT:
        yield Bar("latency", "HTTP less nginx, p50 us", case, "<", 0, f.compared(case, "p50_us", HTTP, NGINX, less),
                  (NGINX.server,))


def mcp(f):
    yield Bar("mcp", "MCP on 1 connection / relay, requests/s", "short-64", ">=", 1.6,
              f.compared("short-64", "requests_per_s", MCP_1, RELAY))


def backends(f):
    for case, figure, what, limit in (("short-256", "requests_per_cpu_s", "requests per CPU s", 1.2),
                                      *((case, "requests_per_cpu_s", "requests per CPU s", 1)
                                        for case in ONE_IN_FLIGHT),
                                      *((case, "requests_per_s", "requests/s", 1) for case in ONE_IN_FLIGHT)):
        yield Bar("backends", f"io_uring / epoll, {what}", case, ">=", limit,
                  f.compared(case, figure, IO_URING, EPOLL), (IO_URING.server, EPOLL.server))


def streams(f):
    for target, name in ((HTTP, "HTTP"), (MCP_1, "MCP on 1 connection")):
        for case in STREAMS:
            yield Bar("parts-cpu", f"{name}, CPU us per part", case, "<=", 3.0,
                      f.summed(case, "cpu_us_per_part", target))
        for case in STREAMS:
            yield Bar("parts-sends", f"{name}, sends to the client per part", case, "<=", ONE_SEND,
                      f.summed(case, "sends_per_part", target))
        yield Bar("parts-copies", f"{name}, share of a part copied in user space", "streams", "<=", NO_COPY,
                  f.copied(target), ("copies",))


def idle(f):
    for target in (HTTP, MCP_EACH):
        row = f.idle.get(target.name, {})
        where = f"{row['connections']:,} connections" if row else "10,000 connections"
        yield Bar("idle", f"{target.name}, bytes per idle connection", where, "<=", 2048,
                  row.get("figures", {}).get("bytes_per_connection"))


def start(f):
    yield Bar("start", "start to ready, ms", "start", "<", 30, f.start.get("ready_ms"))
    yield Bar("start", "idle RSS, MB", "start", "<", 12, f.start.get("idle_rss_mb"))


def batches(f):
    for name in BATCHES:
        yield Bar("batch", f"{name}, requests/s, as a share of the ceiling", "batch", ">=", 0.97,
                  f.batch.get(name, {}).get("of_ceiling"))
    single, eight = (f.batch.get(name, {}).get("requests_per_s") for name in ("single", "B = 8"))
    yield Bar("batch", "B = 8 / single, requests/s", "batch", ">=", 5.8,
              single and eight and {k: eight[k] / single["median"] for k in ("median", "min", "max")})
    adaptive = f.batch.get("adaptive", {})
    yield Bar("batch", "adaptive, requests/s", "batch", ">=", 320, adaptive.get("requests_per_s"))
    yield Bar("batch", "adaptive, mean ms", "batch", "<=", 65, adaptive.get("mean_ms"))


def gaps(f):
    yield Bar("slots", "a slot that nobody uses while requests wait, p99 us", "slots", "<=", 1000,
              f.slots.get("ready", {}).get("p99_us"))


def queue(f):
    """Not of `all`: what takes minutes, and says nothing of how fast the gateway is."""
    for part, name, title, relation, limit in queues.BARS:
        if part in f.queue:
            yield Bar("queue", title, part, relation, limit, queues.figure(f.queue, part, name))


def judge(results, whole):
    """[{group, bar, where, relation, limit, value, holds, why}]; `whole`: those that were not measured too."""
    found, missing = Found(results), results.get("missing", {})
    out = []
    for part in (simulator, http, mcp, backends, streams, idle, start, batches, gaps, queue):
        for bar in part(found):
            if bar.value is None and not whole:
                continue
            why = next((missing[s] for s in bar.servers if s in missing), None) if bar.value is None else None
            out.append({"group": bar.group, "bar": bar.title, "where": bar.where, "relation": bar.relation,
                        "limit": bar.limit, "value": bar.value, "holds": bar.holds(), "why": why})
    return out


def verdict(bar):
    if bar["holds"] is None:
        return "not measured" + (f": {bar['why']}" if bar["why"] else "")
    return "holds" if bar["holds"] else "MISSED"


def text(judged, rounds):
    rows = [["bar", "where", "limit", "median", "least..most", ""]]
    for bar in judged:
        value, digits = bar["value"], 0 if bar["limit"] >= 1000 else 2
        rows.append([bar["bar"], bar["where"], f"{bar['relation']} {bar['limit']:,.{digits}f}",
                     *(("-", "-") if value is None else
                       (table.number(value["median"], digits),
                        f"{table.number(value['min'], digits)}..{table.number(value['max'], digits)}")),
                     verdict(bar)])
    said = [bar["holds"] for bar in judged]
    few = f"; fewer than {LEAST_ROUNDS} rounds, so for orientation only" if rounds < LEAST_ROUNDS else ""
    return "\n".join([f"bars, {rounds} rounds", *table.layout(rows, left=(0, 1, 5)),
                      f"{said.count(True)} hold, {said.count(False)} missed, {said.count(None)} not measured{few}"])
