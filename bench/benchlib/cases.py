# SPDX-License-Identifier: Apache-2.0
"""What is measured, and through what."""
import dataclasses

IN_FLIGHT = (1, 64, 256)
PARTS = 32
ABORT_BEHIND = 8


@dataclasses.dataclass(frozen=True)
class Target:
    name: str
    server: str  # of servers.STARTS or servers.VARIANTS; "direct": none
    mcp: int = 0  # connections; 0: HTTP, each request in flight on a connection of its own


DIRECT = Target("direct", "direct")
RELAY = Target("relay", "relay")
NGINX = Target("nginx", "nginx")
HAPROXY = Target("haproxy", "haproxy")
HTTP = Target("mcpgate http", "mcpgate")
MCP_1 = Target("mcpgate mcp, 1 conn", "mcpgate", 1)
MCP_8 = Target("mcpgate mcp, 8 conns", "mcpgate", 8)
MCP_EACH = Target("mcpgate mcp, each", "mcpgate", -1)  # a connection for each request in flight
# The gateway otherwise than by default, where it knows the option (servers.VARIANTS).
EPOLL = Target("mcpgate http/epoll", "epoll")
IO_URING = Target("mcpgate http/io_uring", "io_uring")
SINGLE = Target("mcpgate http/single", "single")
MAIN_SUB = Target("mcpgate http/main-sub", "main-sub")

HTTP_TARGETS = (DIRECT, RELAY, NGINX, HAPROXY, HTTP)
MCP_TARGETS = (DIRECT, RELAY, HTTP, MCP_1, MCP_8)
VARIANTS = (EPOLL, IO_URING, SINGLE, MAIN_SUB)
ALL_TARGETS = (DIRECT, RELAY, NGINX, HAPROXY, HTTP, MCP_1, MCP_8)
# As --targets takes them.
SHORT_NAMES = {"direct": DIRECT, "relay": RELAY, "nginx": NGINX, "haproxy": HAPROXY, "http": HTTP, "mcp-1": MCP_1,
               "mcp-8": MCP_8, "mcp-each": MCP_EACH, "epoll": EPOLL, "io_uring": IO_URING, "single": SINGLE,
               "main-sub": MAIN_SUB}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    in_flight: int
    options: tuple = ()  # of bench-load
    targets: tuple = ALL_TARGETS
    open_loop: bool = False  # at half the rate of the relay
    parts: int = 1
    one_cpu: bool = False  # load, node and what stands between share one

    def pairs(self):
        """The targets that make sense for so many in flight; an abort closes a connection, so each needs its own."""
        return [t for t in self.targets if t.mcp <= (0 if self.aborts else self.in_flight)]

    @property
    def streams(self):
        """All parts of streams arrive."""
        return self.parts > 1 and not self.aborts

    @property
    def aborts(self):
        return "--abort" in self.options


def stream(gap_ms, in_flight):
    return Case(f"stream-{gap_ms}ms-{in_flight}",
                f"streams of {PARTS} parts, {gap_ms} ms apart, {in_flight} in flight",
                in_flight, ("-p", PARTS, "--gap", gap_ms), parts=PARTS)


SHORT = [Case(f"short-{n}", f"answers in one piece, {n} in flight", n, targets=ALL_TARGETS + VARIANTS)
         for n in IN_FLIGHT]
# With one in flight only one program runs at a time; on several CPUs the figures are those of waking up another,
# which the scheduler deals out as it likes.
SHORT += [dataclasses.replace(SHORT[0], name="short-1-one-cpu", title=SHORT[0].title + ", all on one CPU",
                              one_cpu=True)]
OPEN = [Case("open-64", "answers in one piece, open loop at half the relay's rate, at most 64 in flight", 64,
             open_loop=True)]
STREAMS = [stream(gap_ms, n) for gap_ms in (0, 1) for n in IN_FLIGHT]
ABORTS = [Case("abort-64", f"streams of {PARTS} parts, 1 ms apart, aborted behind {ABORT_BEHIND}, 64 in flight",
               64, ("-p", PARTS, "--gap", 1, "--abort", ABORT_BEHIND), (*HTTP_TARGETS, MCP_EACH),
               parts=ABORT_BEHIND)]


def only(cases, targets):
    return [dataclasses.replace(c, targets=tuple(t for t in targets if t in c.targets)) for c in cases]


# make bench-NAME; idle and start are in their own files.
GROUPS = {
    "http": only(SHORT + OPEN, HTTP_TARGETS) + ABORTS,
    "streams": STREAMS + ABORTS,
    "mcp": only(SHORT + OPEN, MCP_TARGETS),
    "backends": only(SHORT, (DIRECT, RELAY, HTTP, *VARIANTS)),
    "all": SHORT + OPEN + STREAMS + ABORTS,
}
