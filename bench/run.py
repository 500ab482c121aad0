#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares mcpgate with a raw relay, nginx and HAProxy before the same simulated node (make bench).

Prints tables, and writes all results as JSON and the main ones as SVG. Exit status: 0; 1 where there were
errors, such as wrong answers; 2 usage. How fast anything is decides nothing.
"""
import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from benchlib import bars, batch, cases, chart, copies, engines, figures, idle, load, queues, rounds, servers, slots, start  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = ("all", "http", "streams", "mcp", "backends", "idle", "start", "batch", "slots", "queue")


class Bench:
    """The simulator, and the servers before it."""

    def __init__(self, build, folder, stack):
        self.build, self.folder, self.stack = build, pathlib.Path(folder), stack
        self.servers = {}
        self.missing = {}  # why
        self.start_sim()
        self.simulated = load.ask(self.sim.at, "/api/version").get("simulated", False)

    def start_sim(self):
        self.sim = servers.start_sim(self.build, self.folder)
        self.stack.callback(self.sim.stop)
        self.load = load.Load(self.build, self.sim)

    def start(self, name):
        """None: it cannot be had here, which is said once."""
        server, why = servers.start(name, self.build, self.folder, self.sim.at)
        if why:
            self.miss(name, why)
        return server

    def miss(self, name, why):
        if name not in self.missing:
            print(f"{name}: left out: {why}", file=sys.stderr)
        self.missing[name] = why

    def restart(self):
        """All programs anew: on which CPU each thread stays is luck that lasts as long as they do."""
        for server in filter(None, self.servers.values()):
            server.stop()
        self.sim.stop()
        self.start_sim()
        self.start_all(list(self.servers))

    def start_all(self, names):
        for name in names:
            self.servers[name] = server = self.start(name)
            if server:
                self.stack.callback(server.stop)


def first_line(command, env=None):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, cwd=ROOT,
                             env={**os.environ, **(env or {})})
        return ((run.stdout or run.stderr).splitlines() or [""])[0].strip()
    return ""


def machine(build):
    model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
             if line.startswith("model name")]
    versions = {"mcpgate": first_line([build / "mcpgate", "--version"]),
                "commit": first_line(["git", "describe", "--always", "--dirty", "--tags"])}
    for name, option in (("nginx", "-v"), ("haproxy", "-v")):
        path, env = servers.find_server(name)
        versions[name] = first_line([path, option], env) if path else None
    return {"cpu": model[0] if model else platform.machine(), "cores": os.cpu_count(),
            "kernel": platform.release(), "versions": versions, "load_before": os.getloadavg()[0]}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def choose(args):
    chosen = cases.GROUPS.get(args.name, [])
    if args.name == "queue":
        unknown = set(args.case or ()) - set(queues.PARTS)
        if unknown:
            raise servers.Failed(f"queue has no case {', '.join(sorted(unknown))}; it has {', '.join(queues.PARTS)}")
    elif args.case:
        unknown = set(args.case) - {c.name for c in chosen}
        if unknown:
            raise servers.Failed(f"{args.name} has no case {', '.join(sorted(unknown))}; it has "
                                 f"{', '.join(c.name for c in chosen)}")
        chosen = [c for c in chosen if c.name in args.case]
    if args.targets:
        chosen = [dataclasses.replace(c, targets=args.targets) for c in chosen]
    return [c for c in chosen if c.pairs()]


def measure_cases(args, bench, results, chosen):
    names = dict.fromkeys(t.server for c in chosen for t in c.pairs() if t.server != "direct")
    if any(c.open_loop for c in chosen):
        names["relay"] = None  # the rate is half of its
    bench.start_all(names)
    run = rounds.Rounds(bench, chosen, args.seconds, args.warmup, args.rounds, args.seed, args.calls)
    print(f"{len(chosen)} cases, {args.rounds} rounds of {args.seconds:g} s each: about "
          f"{run.estimate_s() / 60:.1f} min", file=sys.stderr)
    results["cases"] = run.run(progress)
    print(rounds.text(results["cases"], bench.simulated), "\n", flush=True)
    return run.errors


def measure_copies(bench, results):
    results["copies"], errors, why = copies.measure(bench)
    if why:
        bench.miss("copies", why)
    else:
        print(copies.text(results["copies"], bench.simulated), "\n", flush=True)
    return errors


def measure_idle(args, bench, results):
    most = (servers.raise_open_files() - 1000) // 2  # the relay has two for each
    targets = [t for t in idle.TARGETS if not args.targets or t in args.targets]
    results["idle"], errors = idle.measure(bench, targets, min(args.connections, most), args.hold, args.rounds)
    print(idle.text(results["idle"], bench.simulated), "\n", flush=True)
    return errors


def measure(args, bench, results):
    """Fills in the results; the errors."""
    chosen, errors = choose(args), []
    if args.name in ("all", "start"):
        results["start"] = start.measure(bench, args.starts)
        print(start.text(results["start"], bench.simulated), "\n", flush=True)
    if chosen:
        errors += measure_cases(args, bench, results, chosen)
    if not args.narrowed and args.name in ("all", "streams"):
        errors += measure_copies(bench, results)
    if args.name in ("all", "idle") and not args.case:
        errors += measure_idle(args, bench, results)
    if args.name in ("all", "batch") and not args.narrowed:
        rows, more = batch.measure(bench, args.engine, args.seconds, args.warmup, args.rounds, progress)
        results["batch" if args.engine == "seed" else f"batch_{args.engine}"] = rows
        errors += more
        print(batch.text(args.engine, rows), "\n", flush=True)
    if args.name in ("all", "slots") and not args.narrowed:
        results["slots"], more = slots.measure(bench, args.seconds, args.warmup, args.rounds, progress)
        errors += more
        print(slots.text(results["slots"]), "\n", flush=True)
    if args.name == "queue":
        results["queue"], more = queues.measure(bench, args.seconds, args.rounds, progress, args.case)
        errors += more
        print(queues.text(results["queue"], bench.simulated), "\n", flush=True)
    results["missing"] = bench.missing
    return errors


def ratios(measured):
    """A line for each target: its rate to that of the relay, or of the first there is."""
    for case in measured:
        names = list(case["summary"])
        floor = cases.RELAY.name if cases.RELAY.name in names else next(iter(names), None)
        for name in names:
            rates = [r[name]["requests_per_s"] / r[floor]["requests_per_s"] for r in case["rounds"]
                     if r[floor]["requests_per_s"] > 0]
            if name != floor and rates:
                found = figures.spread(rates)
                yield (f"{case['name']}: {name} has {found['median']:.2f} of the requests/s of {floor}, "
                       f"{found['min']:.2f}..{found['max']:.2f}")


def write(args, results):
    args.out.mkdir(parents=True, exist_ok=True)
    name = args.name if args.engine == "seed" else f"{args.name}-{args.engine}"
    name = f"{name}-part" if args.narrowed else name  # a look does not replace the whole
    path = args.out / f"{name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"results: {path}")
    if args.svg:
        folder = args.out / name
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.svg"):
            old.unlink()
        drawn = chart.draw(results, folder)
        print(f"charts: {folder}: {' '.join(path.name for path in drawn) or 'none'}")


def targets_of(text):
    unknown = [word for word in text.split(",") if word not in cases.SHORT_NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no target {', '.join(unknown)}; there are {', '.join(cases.SHORT_NAMES)}")
    return tuple(cases.SHORT_NAMES[word] for word in dict.fromkeys(text.split(",")))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=NAMES, default="all")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="folder of the programs")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench", help="where results go")
    parser.add_argument("--seconds", type=float, default=2, help="of one measurement (2)")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before it (0.5)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="the order follows from it")
    parser.add_argument("--case", action="append", help="only this one; may be repeated")
    parser.add_argument("--targets", type=targets_of, metavar="A,B",
                        help=f"only these, in all cases: {', '.join(cases.SHORT_NAMES)}")
    parser.add_argument("--connections", type=int, default=10000, help="idle ones (10000)")
    parser.add_argument("--hold", type=float, default=5, help="seconds that they idle (5)")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--engine", choices=tuple(engines.ENGINES), default="seed", help="of batch (seed)")
    parser.add_argument("--no-svg", dest="svg", action="store_false")
    parser.add_argument("--no-calls", dest="calls", action="store_false",
                        help="do not count system calls and sends")
    args = parser.parse_args()
    args.build = args.build.resolve()
    args.narrowed = bool(args.case or args.targets)
    return args


def main():
    args = parse()
    servers.raise_open_files()
    options = {k: getattr(args, k) for k in ("name", "seconds", "warmup", "rounds", "seed")}
    begun = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mcpgate-bench-"))
        bench = Bench(args.build, folder, stack)
        results = {"simulated": bench.simulated, "begun": begun, "options": options, "machine": machine(args.build)}
        errors = measure(args, bench, results)
    results["errors"] = errors
    results["bars"] = bars.judge(results, whole=args.name == "all" and not args.narrowed)
    write(args, results)
    if results["bars"]:
        print("", bars.text(results["bars"], args.rounds), sep="\n")
    if args.narrowed:
        print("", *ratios(results.get("cases", ())), sep="\n")
    for error in errors:
        print(f"ERROR {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except servers.Failed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
