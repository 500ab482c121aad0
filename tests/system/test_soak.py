# SPDX-License-Identifier: Apache-2.0
"""The real program for some time, in front of simulated nodes that fail: many tenants wait for few slots, for embeddings
calls are shared, answers and routes too; clients leave, stall and have deadlines. At the end the counters say that each
exchange ended once, every slot is free, and memory is where it was.

MCPGATE_SOAK_SECONDS=60 runs it for a minute; a failure names its seed, MCPGATE_SEED=N begins with that one.
"""
import os
import random
import threading
import time

from gateway import Gateway
from http_bytes import Closed, HttpClient, wait_until
from mcp_client import McpClient
from sim import Sim

SECONDS = float(os.environ.get("MCPGATE_SOAK_SECONDS", 4))
SEED = int(os.environ.get("MCPGATE_SEED", 1))
CLIENTS = 24
TENANTS = {"anna": 1, "ben": 3, "chris": 1}
FAULTS = [("close@every 31", "garbage@every 97"), ("reset:3@every 29", "hang:2@every 211"),
          ("refuse:503@every 41", "cut:2@every 53", "drip:1@every 61")]
COSTS = ("--profile", "llm", "--models", "m:latest,n:latest", "--slots", "3", "--load-ms", "20", "--prompt-us", "20",
         "--decode-us", "300", "--tokens", "12", "--memory-mib", "6000", "--dimensions", "8")
NOISE_BYTES = 24 << 20
ENDED = "mcpgate_exchanges_total{"


def config_of(sims):
    return {
        "nodes": [{"url": sim.url, "name": f"sim{i}", "slots": 3} for i, sim in enumerate(sims)],
        "keys": [{"name": name, "key": f"key-of-{name}", "weight": weight} for name, weight in TENANTS.items()],
        "routes": {"r": {"arms": [{"model": "m", "weight": 3}, {"model": "n", "weight": 1}], "fallback": ["n"]}},
        "share": {"identical": "client", "cache": "1MiB"},
        "queue": {"cancel_grace": "50ms", "min_resident": "50ms", "max_load_wait": "1s"},
        "timeouts": {"first_byte": "3s", "idle": "1s", "client_stall": "2s"},
    }


def request_of(dice):
    """A path and a body; some are equal to others."""
    model = dice.choice(["m", "m", "n", "r"])
    prompt = f"{dice.randrange(40)} " + "word " * dice.choice([1, 20, 400])
    if dice.random() < 0.3:
        return "/api/embed", {"model": dice.choice("mn"), "input": [prompt[:40], str(dice.randrange(9))]}
    body = {"model": model, "stream": dice.random() < 0.8}
    if dice.random() < 0.3:
        body["options"] = {"seed": 1}
    if dice.random() < 0.5:
        return "/api/generate", {**body, "prompt": prompt}
    return "/api/chat", {**body, "messages": [{"role": "user", "content": prompt}]}


def http_client(gateway, dice, key):
    with HttpClient(gateway.http) as client:
        client.sock.settimeout(15)
        for _ in range(dice.randrange(1, 6)):
            path, body = request_of(dice)
            headers = [("Authorization", f"Bearer {key}")]
            if dice.random() < 0.2:
                headers.append(("X-Mcpgate-Deadline", str(dice.randrange(1, 400))))
            client.request("POST", path, body, headers)
            fate = dice.random()
            if fate < 0.1:
                time.sleep(dice.random() / 20)
                return dice.choice([client.close, client.reset, client.half_close])()
            if fate < 0.12 and body.get("stream"):
                client.head()
                time.sleep(0.3)  # does not read on for a while
                return None
            response = client.response()
            assert response.get("X-Request-Id")
            if not response.complete:
                return None
    return None


def mcp_client(gateway, dice, key):
    with McpClient(gateway.mcp) as client:
        client.sock.settimeout(15)
        sessions = range(1, dice.randrange(2, 6))
        for session in sessions:
            body = request_of(dice)[1]
            body.pop("input", None)
            body.setdefault("prompt", "a") if "messages" not in body else None
            mcp = {"auth": key}
            if dice.random() < 0.3:
                mcp["deadline_ms"] = dice.randrange(1, 400)
            client.request(session, {**body, "mcp": mcp})
        running, cut = set(sessions), dice.random() < 0.2
        while running:
            frame = client.frame()
            part = frame.json()
            assert frame.session in running, frame
            if part.get("done") or "code" in part:
                running.remove(frame.session)
            elif cut and dice.random() < 0.1:
                return dice.choice([client.close, client.reset])()
    return None


def run_clients(gateway, until, round_number):
    """How many came. Failures are in the list."""
    failures, counts = [], [0] * CLIENTS

    def client(number):
        dice = random.Random(f"{SEED} {round_number} {number}")
        key = f"key-of-{dice.choice(sorted(TENANTS))}"
        while time.monotonic() < until and not failures:
            counts[number] += 1
            try:
                dice.choice([http_client, http_client, mcp_client])(gateway, dice, key)
            except (Closed, ConnectionError):
                pass
            except BaseException as error:  # noqa: BLE001
                failures.append((f"seed {SEED}", number, counts[number], repr(error)))

    threads = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return sum(counts)


def assert_nothing_is_held(gateway, sims):
    gateway.wait_idle()
    gateway.wait_metric("mcpgate_slots_used", 0)
    for face in ("mcp", "http"):
        gateway.wait_metric(f'mcpgate_connections_open{{face="{face}"}}', 0)
    metrics = gateway.metrics()
    assert metrics["mcpgate_queue_waiting"] == 0
    assert metrics["mcpgate_body_bytes"] == 0
    assert metrics["mcpgate_batch_waiting"] == 0
    ended = sum(value for name, value in metrics.items() if name.startswith(ENDED))
    assert ended == metrics["mcpgate_exchange_seconds_count"]
    for sim in sims:
        wait_until(lambda sim=sim: sim.stats()["slots_busy"] == 0, lambda sim=sim: f"a slot is held: {sim.stats()}")
    return ended


def test_at_the_end_nothing_is_held():
    sims = [Sim(*COSTS, *[word for fault in faults for word in ("--fault", fault)]) for faults in FAULTS]
    try:
        # What the sanitizer keeps of freed memory would hide what is not freed.
        env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
        with Gateway(config=config_of(sims), env=env) as gateway:
            begin, rss_bytes, came = time.monotonic(), 0, 0
            for number in range(2):
                came += run_clients(gateway, begin + SECONDS * (number + 1) / 2, number)
                ended = assert_nothing_is_held(gateway, sims)
                rss_bytes, before = gateway.rss_bytes(), rss_bytes
            print(f"{came} clients, {ended:.0f} exchanges; {before >> 20} MiB half way, {rss_bytes >> 20} in the end")
            assert rss_bytes < before + NOISE_BYTES
            metrics = gateway.metrics()
            for outcome in ("ok", "cancelled", "deadline"):
                assert metrics[ENDED + f'outcome="{outcome}"}}'] > 0, metrics
    finally:
        for sim in sims:
            sim.kill()
