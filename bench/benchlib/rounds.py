# SPDX-License-Identifier: Apache-2.0
"""The main measurement: all cases through all targets, again and again, in a new random order each round.
Within a round the targets of a case run one behind the other, so that their ratios mean something."""
import contextlib
import random

from benchlib import affinity, counts, load, table
from benchlib.cases import RELAY
from benchlib.figures import figures_of, spread, summarise
from benchlib.servers import Failed


class Rounds:
    def __init__(self, bench, cases, seconds, warmup, rounds, seed, count_calls=True):
        self.bench, self.cases, self.rounds, self.count_calls = bench, cases, rounds, count_calls
        self.window = ["-t", seconds, "--warmup", warmup]
        self.seconds = seconds + warmup
        self.random = random.Random(seed)
        self.rate = None
        self.errors = []

    def estimate_s(self):
        pairs = sum(len(self.pairs(case)) for case in self.cases)
        streams = sum(len(self.pairs(case)) for case in self.cases if case.streams)
        return (pairs * self.rounds * (self.seconds + 0.3)
                + (pairs + streams) * (sum(counts.RUNS_S) + 1) * self.count_calls)

    def pairs(self, case):
        return [t for t in case.pairs() if t.server == "direct" or self.bench.servers.get(t.server)]

    def options(self, case, target):
        rate = ["--rate", self.rate] if case.open_loop else []
        return [*load.shape(target, case.in_flight), *case.options, *rate]

    def find_rate(self):
        """Half of what the relay does, to two digits."""
        result = self.bench.load.run(self.bench.servers["relay"].at, ["-c", 64, *self.window])
        if result["requests_per_s"] < 10:
            raise Failed(f"the relay answers too little: {result['first_error'] or result}")
        self.rate = float(f"{result['requests_per_s'] / 2:.1e}")

    def run_one(self, case, target):
        server = None if target.server == "direct" else self.bench.servers[target.server]
        at = self.bench.sim.at if server is None else load.address(target, server)
        pids = self.bench.sim.pids() + (server.pids() if server else [])
        with affinity.one_cpu(pids) if case.one_cpu else contextlib.nullcontext():
            result = self.bench.load.run(at, [*self.options(case, target), *self.window], server)
        if case.aborts:
            left = self.bench.load.wait_idle()
            if left > 0:
                result["errors"] += left
                result["first_error"] = result["first_error"] or "calls that go on without their client"
        self.note_errors(case, target, result)
        return result

    def note_errors(self, case, target, result):
        if result["errors"]:
            self.errors.append(f"{case.name}, {target.name}: {result['errors']} errors, the first: "
                               f"{result['first_error']}")

    def run_case(self, case):
        """{target name: result} in the order of the table."""
        targets = self.pairs(case)
        order = self.random.sample(targets, len(targets))
        results = {target: self.run_one(case, target) for target in order}
        return {target.name: results[target] for target in targets}

    def run(self, say):
        """[{name, title, ..., rounds, summary}] of each case."""
        if any(case.open_loop for case in self.cases):
            self.find_rate()
        results = {case.name: [] for case in self.cases}
        for number in range(self.rounds):
            if number > 0:
                self.bench.restart()
            for case in self.random.sample(self.cases, len(self.cases)):
                say(f"round {number + 1} of {self.rounds}: {case.name}")
                results[case.name].append(self.run_case(case))
        out = []
        for case in self.cases:
            say(f"counting: {case.name}")
            out.append(self.sum_up(case, results[case.name]))
        say("")
        return out

    def sum_up(self, case, results):
        figures = [{name: figures_of(r, case.parts, round_.get("direct")) for name, r in round_.items()}
                   for round_ in results]
        summary, ways = summarise(figures), {}
        if self.count_calls:
            ways["calls"] = self.count(case, summary, "calls", counts.CALLS, 1)
            if case.streams:
                ways["sends_per_part"] = self.count(case, summary, "sends_per_part", counts.SENDS, case.parts)
        return {"name": case.name, "title": case.title, "in_flight": case.in_flight, "parts": case.parts,
                "rate_per_s": self.rate if case.open_loop else None, "summary": summary, "counted_by": ways,
                "figures": figures, "rounds": results}

    def count(self, case, summary, name, what, per):
        """Adds that figure to the summary. The ways it was counted."""
        ways = set()
        for target in self.pairs(case):
            if target.server != "direct":
                server = self.bench.servers[target.server]
                number, results, way = counts.per_request(what, self.bench.load, load.address(target, server),
                                                          self.options(case, target), server)
                for result in results:
                    self.note_errors(case, target, result)
                if number is not None:
                    summary[target.name][name] = spread([number / per])
                    ways.add(way)
        floor = summary.get(RELAY.name, {}).get(name)
        for target, figures in summary.items():
            if floor and floor["median"] > 0 and target != RELAY.name and name in figures:
                figures[name]["ratio"] = spread([figures[name]["median"] / floor["median"]])
        return sorted(ways)


def text(cases, simulated):
    return "\n\n".join(table.case_table(case, case["summary"], simulated) for case in cases)
