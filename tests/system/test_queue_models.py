# SPDX-License-Identifier: Apache-2.0
"""Several models, or one with several options, before a node with memory for one: who wants the same is served together."""
import threading
import time

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from sim import Sim

SIM = ("--profile", "llm", "--models", "a,b", "--memory-mib", "6000", "--load-ms", "300", "--decode-us", "500",
       "--decode-slot-us", "10", "--prompt-us", "1", "--tokens", "4", "--slots", "64")


def ask_in_turns(gateway, seconds, each_s, bodies):
    """These requests in turns at a fixed pace; the longest that one took."""
    took, threads = [], []

    def one(body):
        begun = time.monotonic()
        with HttpClient(gateway.http) as client:
            client.request("POST", "/api/generate", {"prompt": "x", **body})
            assert client.response().status == 200
        took.append(time.monotonic() - begun)

    begun = time.monotonic()
    while (at := len(threads) * each_s) < seconds:
        time.sleep(max(0, begun + at - time.monotonic()))
        threads.append(threading.Thread(target=one, args=(bodies[len(threads) % len(bodies)],)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(took) == len(threads)
    return max(took)


def with_options(num_ctx):
    return {"model": "a", "options": {"num_ctx": num_ctx}}


@pytest.mark.parametrize("bodies", [
    pytest.param([{"model": "a"}, {"model": "b"}], id="models"),
    pytest.param([with_options(2048), with_options(4096)], id="options")])
def test_they_are_not_loaded_in_turns(bodies):
    queue = {"min_resident": "500ms", "max_load_wait": "1s"}
    with Sim(*SIM) as sim, Gateway(config={"nodes": [{"url": sim.url}], "queue": queue}) as gateway:
        assert ask_in_turns(gateway, 4, 0.05, bodies) < 4
        assert 2 <= sim.stats()["loads"] <= 8  # in turns: one for nearly each of the 80
        gateway.wait_metric("mcpgate_slots_used", 0)


def queue_page(gateway):
    return ask(gateway.admin, "GET", "/admin/queue").json()


def test_one_model_is_scheduled_once_it_was_loaded_anew_for_its_options():
    def wait(what):
        wait_until(lambda: what(queue_page(gateway)), lambda: f"{queue_page(gateway)}")

    with Sim("--profile", "llm", "--models", "a", "--load-ms", "10", "--tokens", "1") as sim, Gateway(sim) as gateway:
        for num_ctx in (2048, 2048, 4096):
            assert not queue_page(gateway)["schedules"]
            assert ask(gateway.http, "POST", "/api/generate", {"prompt": "x", **with_options(num_ctx)}).status == 200
            wait(lambda page: any(model["resident"] for model in page["nodes"][0]["models"]))
        wait(lambda page: page["schedules"])


def test_models_that_fit_are_loaded_beside_each_other():
    """Where the memory is known nobody waits for that."""
    with Sim(*SIM, "--memory-mib", "12288") as sim:
        node = {"url": sim.url, "memory": "12GiB"}
        with Gateway(config={"nodes": [node], "queue": {"max_load_wait": "1h", "min_resident": "1h"}}) as gateway:
            for model in "abab":
                assert ask(gateway.http, "POST", "/api/generate", {"model": model, "prompt": "x"}).status == 200
            assert sim.stats()["loads"] == 2


def test_what_is_pinned_is_loaded_once():
    config = {"queue": {"mode": "always"}, "models": {"a": {"pin": {"num_ctx": 8192}}}}
    with Sim(*SIM) as sim, Gateway(config={"nodes": [{"url": sim.url}], **config}) as gateway:
        assert ask_in_turns(gateway, 1, 0.05, [with_options(2048), with_options(4096), {"model": "a"}]) < 4
        assert sim.stats()["loads"] == 1
