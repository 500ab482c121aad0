# SPDX-License-Identifier: Apache-2.0
"""Several models before a node with memory for one: who wants the same model is served together."""
import threading
import time

from gateway import Gateway
from http_bytes import HttpClient
from sim import Sim

SIM = ("--profile", "llm", "--models", "a,b", "--memory-mib", "6000", "--load-ms", "300", "--decode-us", "500",
       "--decode-slot-us", "10", "--prompt-us", "1", "--tokens", "4", "--slots", "64")


def ask_in_turns(gateway, seconds, each_s):
    """Requests for a, b, a, b, ... at a fixed pace; the longest that one took."""
    took, threads = [], []

    def one(model):
        begun = time.monotonic()
        with HttpClient(gateway.http) as client:
            client.request("POST", "/api/generate", {"model": model, "prompt": "x"})
            assert client.response().status == 200
        took.append(time.monotonic() - begun)

    begun = time.monotonic()
    while (at := len(threads) * each_s) < seconds:
        time.sleep(max(0, begun + at - time.monotonic()))
        threads.append(threading.Thread(target=one, args=("ab"[len(threads) % 2],)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(took) == len(threads)
    return max(took)


def test_models_are_not_loaded_in_turns():
    queue = {"mode": "always", "min_resident": "500ms", "max_load_wait": "1s"}
    with Sim(*SIM) as sim, Gateway(config={"nodes": [{"url": sim.url}], "queue": queue}) as gateway:
        assert ask_in_turns(gateway, 4, 0.05) < 4
        assert 2 <= sim.stats()["loads"] <= 8  # in turns: one for nearly each of the 80
        gateway.wait_metric("mcpgate_slots_used", 0)
