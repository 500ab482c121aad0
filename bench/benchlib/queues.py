# SPDX-License-Identifier: Apache-2.0
"""What the scheduler is held to, on a running gateway with simulated nodes. tests/unit/sched holds the same in virtual
time; here are clocks, sockets and a machine with other things to do as well."""
import asyncio
import contextlib
import itertools
import json
import pathlib
import random
import statistics

from benchlib import asker, servers, table
from benchlib.figures import spread

GENERATE, CHAT = "/api/generate", "/api/chat"
FULL_S = 2.0  # --seconds that give the times below
LOAD_MS, MAX_LOAD_WAIT_S = 2000, 10
SLOTS, OVER = 4, 10
CONVERSATIONS, TURNS = 12, 10


def sim(bench, stack, name, **options):
    words = [word for key, value in options.items() for word in ("--" + key.replace("_", "-"), value)]
    server = servers.Server(bench.folder, name, [bench.build / "mcpgate", "sim", "--http", "127.0.0.1:0", "--profile",
                                                 "llm", *words], banner=rb"^ready$")
    stack.callback(server.stop)
    server.at = server.address(r"http\s+")
    return server


def gateway(bench, stack, nodes, **config):
    """`nodes`: (name, address, slots or None). Scheduled as configured, by default as a user gets it."""
    entries = [{"name": name, "url": f"http://{at}", **({"slots": slots} if slots else {})} for name, at, slots in nodes]
    path = pathlib.Path(bench.folder, "queues.yaml")
    path.write_text(json.dumps({"nodes": entries, "log": {"access": "off"}, "state": {"dir": str(bench.folder)}, **config}))
    path.chmod(0o600)
    server = servers.Server(bench.folder, "mcpgate-queues", [
        bench.build / "mcpgate", "serve", "-c", path, "--http", "127.0.0.1:0", "--mcp", "off",
        "--admin", "127.0.0.1:0"], banner=rb"^ready$")
    stack.callback(server.stop)
    server.at, server.admin_at = server.address(r"http\s+"), server.address(r"admin\s+")
    return server


def body_of(model, prompt_tokens, tokens, salt):
    """`salt`: no two prompts begin alike. The simulator takes four bytes for a token."""
    text = f"{salt} ".ljust(4 * prompt_tokens, "x")
    return {"model": model, "prompt": text, "options": {"num_predict": tokens}}


def good(answers):
    """Those that ended well; Failed where one did not."""
    wrong = [a.error for a in answers if a.error]
    if wrong:
        raise servers.Failed(f"queue: {len(wrong)} of {len(answers)} requests failed, the first: {wrong[0]}")
    return [a for a in answers if a.ended is not None]


def quantile(values, fraction):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


# --- two models, memory for one ----------------------------------------------------------------

async def in_turns(at, seconds, wait_all):
    """Two models asked for in turns, 40 times a second."""
    noted = []

    def make(number, due):
        return asker.ask(at, GENERATE, body_of("ab"[number % 2], 4, 4, number), due=due, noted=noted)

    tasks = await asker.open_loop(seconds, 1 / 40, make)
    if wait_all:
        await asyncio.gather(*tasks)
    await asker.leave(tasks)
    return good(noted)


def models(bench, scale):
    options = {"models": "a,b", "memory_mib": 6000, "model_mib": 5120, "load_ms": LOAD_MS, "slots": 64, "queue": 0,
               "prompt_us": 1, "decode_us": 500, "decode_slot_us": 10, "jitter_percent": 0}
    with contextlib.ExitStack() as stack:
        node = sim(bench, stack, "sim-models", **options)
        first_come = asyncio.run(in_turns(node.at, max(20 * scale, 5), wait_all=False))
        loads = asyncio.run(asker.page(node.at, "/sim/stats"))["loads"]
    with contextlib.ExitStack() as stack:
        node = sim(bench, stack, "sim-models", **options)
        proxy = gateway(bench, stack, [("one", node.at, None)])
        ours = asyncio.run(in_turns(proxy.at, 40 * scale, wait_all=True))
        our_loads = asyncio.run(asker.page(node.at, "/sim/stats"))["loads"]
    return {"first_come_answers": len(first_come), "first_come_loads": loads, "answers": len(ours), "loads": our_loads,
            "loads_share": (our_loads / len(ours)) / (loads / max(1, len(first_come))),
            "longest_wait_s": max(a.waited_s for a in ours)}


# --- slots that nobody has configured ------------------------------------------------------------

async def find_slots(node, proxy, clients, many):
    """(slots that the gateway thinks of, by answers that have come; when the node's became fewer)"""
    noted, seen, changed = [], [], None
    order = random.Random(1)
    sizes = [(order.randrange(50, 150), order.randrange(40, 120)) for _ in range(97)]

    def make(client, number):
        prompt, tokens = sizes[(client * 31 + number) % len(sizes)]
        return asker.ask(proxy.at, GENERATE, body_of("m", prompt, tokens, f"{client}.{number}"), noted=noted)

    load = asyncio.create_task(asker.closed_loop(clients, 3600, make))
    try:
        while (ended := sum(a.ended is not None for a in noted)) < 5 * many:
            page = await asker.page(proxy.admin_at, "/admin/queue")
            seen += [(ended, m["slots"]) for n in page["nodes"] for m in n["models"] if "slots" in m]
            if changed is None and ended >= 2 * many:
                await asker.page(node.at, "/sim/slots", body={"slots": 4})
                changed = ended
            if load.done():
                load.result()
            await asyncio.sleep(0.05)
    finally:
        await asker.leave([load])
    good(noted)
    return seen, changed


def slots(bench, scale):
    many = max(int(200 * scale), 20)
    with contextlib.ExitStack() as stack:
        node = sim(bench, stack, "sim-slots", slots=8, load_ms=0, prompt_us=50, decode_us=5000, decode_slot_us=0,
                   prompt_cache=0)
        proxy = gateway(bench, stack, [("one", node.at, "auto")])
        seen, changed = asyncio.run(find_slots(node, proxy, 32, many))
    before = statistics.mean(n for ended, n in seen if many <= ended < changed)
    after = statistics.mean(n for ended, n in seen if ended >= changed + many)
    return {"found_of_8": before, "found_of_4": after, "off_8": abs(before - 8), "off_4": abs(after - 4)}


# --- tenants -------------------------------------------------------------------------------------

KEYS = [{"name": name, "key": f"{name}-key"} for name in ("anna", "greedy")]
QUICK = {"load_ms": 0, "slots": SLOTS, "prompt_us": 50, "decode_us": 5000, "decode_slot_us": 200, "prompt_cache": 0}


async def person(at, seconds, greedy_each_s):
    """The answers to anna, who asks when she has read the one before, beside one who asks for far too much, or nobody."""
    noted, others = [], []
    order = random.Random(1)

    async def anna(_, number):
        await asker.ask(at, GENERATE, body_of("m", 40, 50, f"a{number}"), "anna", "anna-key", noted=noted)
        await asyncio.sleep(order.uniform(0.05, 0.3))

    def greedy(number, due):
        return asker.ask(at, GENERATE, body_of("m", 40, 50, f"g{number}"), "greedy", "greedy-key", due, others)

    load = asyncio.create_task(asker.open_loop(seconds + 2, greedy_each_s, greedy)) if greedy_each_s else None
    await asyncio.sleep(1 if load else 0)
    await asker.closed_loop(1, seconds, anna)
    if load:
        await asker.leave(await load)
    return good(noted), others


def tenants(bench, scale):
    with contextlib.ExitStack() as stack:
        node = sim(bench, stack, "sim-tenants", **QUICK)
        proxy = gateway(bench, stack, [("one", node.at, SLOTS)], keys=KEYS)
        alone, _ = asyncio.run(person(proxy.at, 30 * scale, None))
        capacity = SLOTS / statistics.mean(a.ended - a.due for a in alone)
        beside, others = asyncio.run(person(proxy.at, 30 * scale, 1 / (OVER * capacity)))
    served = [a for a in others if a.ended is not None and not a.error]
    service_s = statistics.mean(a.ended - a.due - a.waited_s for a in served)  # with all slots taken
    p99 = [quantile([a.first - a.due for a in answers], 0.99) for answers in (alone, beside)]
    return {"alone_p99_s": p99[0], "beside_p99_s": p99[1], "service_s": service_s,
            "greedy_answers": len(served), "greedy_refused": sum(a.status == 503 for a in others),  # its queue is full
            "beside_share": p99[1] / (1.2 * p99[0] + service_s)}


async def backlogged(at, seconds):
    """What two tenants got, of whom both always wait: one asks for much at a time, the other for little."""
    noted = []
    sizes = {"anna": (300, 80), "greedy": (40, 20)}

    def make(client, number):
        name = tuple(sizes)[client % 2]
        return asker.ask(at, GENERATE, body_of("m", *sizes[name], f"{client}.{number}"), name, f"{name}-key", noted=noted)

    load = asyncio.create_task(asker.closed_loop(32, 3600, make))
    await asyncio.sleep(seconds)
    await asker.leave([load])
    good(noted)
    served = {name: sum((prompt if a.parts else 0) + 2 * a.parts for a in noted if a.tenant == name)
              for name, (prompt, _) in sizes.items()}
    return served, 2 * 2 * SLOTS * sum(max(sizes.values()))


def fairness(bench, scale):
    """The bound of the paper: twice what a full batch of the largest may cost, an answer's token counting two."""
    with contextlib.ExitStack() as stack:
        node = sim(bench, stack, "sim-fair", **QUICK)
        proxy = gateway(bench, stack, [("one", node.at, SLOTS)], keys=KEYS)
        served, bound = asyncio.run(backlogged(proxy.at, 20 * scale))
    return {"served": served, "bound": bound, "of_bound": abs(served["anna"] - served["greedy"]) / bound}


# --- when it is one's turn -----------------------------------------------------------------------

async def foretold(proxy, seconds, each_s):
    """A little more is asked than the node can do. Relative errors of what /admin/queue said of requests when it first showed them."""
    loop, noted, told = asyncio.get_running_loop(), [], {}
    order = random.Random(2)
    stop = loop.time() + seconds

    def make(number, due):
        name = ("anna", "greedy")[order.randrange(2)]
        return asker.ask(proxy.at, GENERATE, body_of("m", 40, order.randrange(20, 100), number), name, f"{name}-key", due, noted)

    load = asyncio.create_task(asker.open_loop(seconds, each_s, make, seed=3))
    while loop.time() < stop:
        page = await asker.page(proxy.admin_at, "/admin/queue", "anna-key")
        now = loop.time()
        for row in page["requests"]:
            if row["state"] != "queued" or "eta_ms" not in row:
                continue
            arrived = now - row["ms"] / 1000
            near = min((a for a in noted if a.tenant == row["tenant"]), key=lambda a: abs(a.due - arrived), default=None)
            if near is not None and abs(near.due - arrived) < each_s / 2:
                told.setdefault(id(near), (near, now + row["eta_ms"] / 1000, now))
        await asyncio.sleep(0.05)
    await asyncio.gather(*await load)
    good(noted)
    turns = [(eta, answer.due + answer.waited_s, now) for answer, eta, now in told.values()]
    return [abs(eta - turn) / (turn - now) for eta, turn, now in turns if turn > now + 0.05]


def etas(bench, scale):
    with contextlib.ExitStack() as stack:
        node = sim(bench, stack, "sim-eta", **QUICK)
        proxy = gateway(bench, stack, [("one", node.at, SLOTS)], keys=KEYS)
        errors = asyncio.run(foretold(proxy, max(40 * scale, 5), 0.08))
    if not errors:
        raise servers.Failed("queue: no request waited, so that no ETA was told")
    return {"told": len(errors), "median_error": statistics.median(errors), "p90_error": quantile(errors, 0.9)}


# --- conversations ---------------------------------------------------------------------------------

async def converse(at, seconds):
    """Conversations of ten turns, each after a short while; one that is over makes room for another."""
    loop, noted, names = asyncio.get_running_loop(), [], itertools.count()
    end = loop.time() + seconds
    order = random.Random(4)
    system = {"role": "system", "content": "Be brief. " * 20}

    async def client():
        while loop.time() < end:
            name, messages = next(names), [system]
            for turn in range(TURNS):
                messages.append({"role": "user", "content": f"{name}.{turn} ".ljust(200, "x")})
                answer = await asker.ask(at, CHAT, {"model": "m", "messages": messages, "options": {"num_predict": 24}},
                                         noted=noted)
                messages.append({"role": "assistant", "content": answer.text})
                await asyncio.sleep(order.uniform(0.05, 0.25))
                if answer.error or loop.time() >= end:
                    break

    await asyncio.gather(*(client() for _ in range(CONVERSATIONS)))
    return good(noted)


def conversations(bench, seconds, nodes, each):
    options = {**QUICK, "slots": each, "prompt_us": 200, "prompt_cache": 1}
    with contextlib.ExitStack() as stack:
        sims = [sim(bench, stack, f"sim-talk-{n}", **options) for n in range(nodes)]
        proxy = gateway(bench, stack, [(f"node{n}", s.at, each) for n, s in enumerate(sims)])
        asyncio.run(converse(proxy.at, seconds))
        stats = [asyncio.run(asker.page(s.at, "/sim/stats")) for s in sims]
    calls = [s["calls"] for s in stats]
    return (sum(s["cached_tokens"] for s in stats) / sum(s["prompt_tokens"] for s in stats),
            max(calls) / statistics.mean(calls))


def affinity(bench, scale):
    one, _ = conversations(bench, 20 * scale, 1, 4 * SLOTS)
    four, busiest = conversations(bench, 20 * scale, 4, SLOTS)
    return {"one_node": one, "four_nodes": four, "hits_share": four / one, "busiest": busiest}


# --- all of it -------------------------------------------------------------------------------------

PARTS = {"models": models, "slots": slots, "tenants": tenants, "fairness": fairness, "etas": etas, "affinity": affinity}

# (part, figure, title, relation, limit)
BARS = (
    ("models", "loads_share", "two models in turns: loads per answer, to those first come, first served", "<=", 0.1),
    ("models", "longest_wait_s", "the same: longest wait until a load begins, s", "<=", MAX_LOAD_WAIT_S),
    ("slots", "off_8", "slots: auto on a node with 8: off by", "<=", 1.0),
    ("slots", "off_4", "after a change to 4: off by", "<=", 1.0),
    ("tenants", "beside_share", "p99 to the first part beside a tenant at 10x capacity, of 1.2 alone + a slot's service",
     "<=", 1.0),
    ("fairness", "of_bound", "two backlogged tenants: difference of service, of the paper's bound", "<=", 1.0),
    ("etas", "median_error", "median error of an ETA", "<=", 0.25),
    ("affinity", "hits_share", "conversations on 4 nodes: prompt tokens cached, of one node's", ">=", 0.9),
    ("affinity", "busiest", "the same: busiest node, of the mean", "<=", 1.25),
)


def measure(bench, seconds, rounds, progress, only=None):
    """{part: [figures of each round]}, errors"""
    results, errors = {}, []
    for number in range(rounds):
        for name, part in PARTS.items():
            if only and name not in only:
                continue
            progress(f"queue: round {number + 1} of {rounds}, {name}")
            try:
                results.setdefault(name, []).append(part(bench, seconds / FULL_S))
            except servers.Failed as failed:
                errors.append(str(failed))
    progress("")
    return {name: rows for name, rows in results.items() if rows}, errors


def figure(results, part, name):
    rows = results.get(part)
    return rows and spread([row[name] for row in rows])


def text(results, simulated):
    """Every number there is, medians of the rounds."""
    rows = []
    for part, rounds in results.items():
        for name, value in rounds[0].items():
            if isinstance(value, (int, float)):
                found = figure(results, part, name)
                rows.append([part, name.replace("_", " "), *(table.number(found[k], 3) for k in ("median", "min", "max"))])
    return table.plain_table(f"queue: the scheduler on a running gateway (simulated: {str(simulated).lower()})",
                             ["", "", "median", "least", "most"], rows)
