# SPDX-License-Identifier: Apache-2.0
"""Nodes that DNS knows: found, followed, kept while it fails, drained when they go."""
import json
import subprocess
import threading

import pytest

from cli import BIN, environment
from dns_server import DnsServer
from gateway import Gateway
from http_bytes import ask, wait_until
from node import Gate, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a", "stream": False}
FAST = {"interval": "100ms"}


def config(tmp_path, dns, *entries, **sections):
    return {"nodes": [{"url": e} if isinstance(e, str) else e for e in entries],
            "discovery": {**FAST, "resolver": dns.address}, "state": {"dir": str(tmp_path)}, **sections}


def nodes(gateway):
    return {node["name"]: node for node in ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"]}


def names_of(gateway):
    return ask(gateway.admin, "GET", "/admin/nodes").json()["discovery"]


def wait_nodes(gateway, *names):
    wait_until(lambda: sorted(nodes(gateway)) == sorted(names) and all(n["up"] for n in nodes(gateway).values()),
               lambda: f"nodes {names} are there and up: {nodes(gateway)}")


def generate(gateway, **more):
    return ask(gateway.http, "POST", "/api/generate", {**GENERATE, **more})


def cli(gateway, *args, status=0):
    env = environment(MCPGATE_ADMIN="%s:%d" % gateway.admin, MCPGATE_HOST="%s:%d" % gateway.mcp)
    result = subprocess.run([BIN, *args], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            timeout=30, check=False)
    assert result.returncode == status, result.stdout
    return result.stdout


def service(*ports):
    """Records of a service whose servers are on this machine."""
    return {"_ollama._tcp.pool.test": [("SRV", port, "here.pool.test") for port in ports],
            "here.pool.test": [("A", "127.0.0.1")]}


def test_addresses_of_a_name_are_nodes_and_are_looked_up_again(tmp_path):
    with OllamaNode("m") as one, DnsServer({"pool.test": [("A", "127.0.0.1")]}) as dns:
        url = f"dns://pool.test:{one.port}"
        with Gateway(config=config(tmp_path, dns, {"url": url, "api_key": "secret", "slots": 3})) as gateway:
            name = f"127.0.0.1:{one.port}"
            wait_nodes(gateway, name)
            assert nodes(gateway)[name]["found_by"] == url
            assert names_of(gateway) == [{"name": url, "url": url, "nodes": 1, "error": ""}]
            assert generate(gateway).status == 200
            assert ("authorization", "Bearer secret") in [(k.lower(), v) for k, v in one.requests[-1].headers]
            slots = ask(gateway.admin, "GET", "/admin/queue").json()["nodes"][0]["models"][0]["slots"]
            assert slots == 3
            dns.records["pool.test"] = [("A", "127.0.0.1"), ("A", "127.0.0.1"), ("A", "127.0.0.9")]
            wait_until(lambda: sorted(nodes(gateway)) == [name, f"127.0.0.9:{one.port}"], "both are there")
            assert not nodes(gateway)[f"127.0.0.9:{one.port}"]["up"]
            dns.records["pool.test"] = [("A", "127.0.0.1")]
            wait_nodes(gateway, name)
            assert gateway.metric('mcpgate_discovery_nodes_total{event="found"}') == 2
            assert gateway.metric('mcpgate_discovery_nodes_total{event="gone"}') == 1
            lines = [line for line in gateway.errors().splitlines() if "nodes_found" in line]
            assert [line.split("nodes_found ")[1] for line in lines] == \
                [f"name={url} nodes={n} new={new} gone={gone}" for n, new, gone in ((1, 1, 0), (2, 1, 0), (1, 0, 1))]


def test_ipv6_where_there_is_nothing_else_and_aliases(tmp_path):
    with DnsServer({"six.test": [("AAAA", "::1")], "alias.test": [("CNAME", "both.test")],
                    "both.test": [("A", "127.0.0.1"), ("AAAA", "::1")]}) as dns, \
            Gateway(config=config(tmp_path, dns, "dns://six.test:9", "dns://alias.test:9/ollama/"), wait=False) as gateway:
        wait_until(lambda: len(nodes(gateway)) == 2, "all are there")
        assert {n["name"]: n["url"] for n in nodes(gateway).values()} == \
            {"[::1]:9": "http://[::1]:9", "127.0.0.1:9": "http://127.0.0.1:9/ollama"}


@pytest.mark.parametrize("along", [True, False])
def test_servers_of_a_service_are_nodes_with_its_ports(tmp_path, along):
    with OllamaNode("m") as one, OllamaNode("m") as two, DnsServer(service(one.port, two.port), along=along) as dns:
        with Gateway(config=config(tmp_path, dns, "srv://_ollama._tcp.pool.test")) as gateway:
            wait_nodes(gateway, f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}")
            assert (("here.pool.test", "A") in dns.asked) != along
            for _ in range(4):
                assert generate(gateway).status == 200
            dns.records.update(service(two.port))
            wait_nodes(gateway, f"127.0.0.1:{two.port}")
            assert generate(gateway).status == 200


def test_a_long_answer_comes_over_tcp(tmp_path):
    with DnsServer({"many.test": [("A", f"127.0.1.{i}") for i in range(200)]}) as dns, \
            Gateway(config=config(tmp_path, dns, "dns://many.test:9"), wait=False) as gateway:
        wait_until(lambda: len(nodes(gateway)) == 200, "all are there")
        assert dns.by_tcp > 0


@pytest.mark.parametrize("fails, why", [
    ("servfail", "the server does not answer, or failed"), ("silent", "the server does not answer, or failed"),
    ("nonsense", "the server answers nonsense"), ("gone", "it has no addresses"),
    ("empty", "it has no addresses")])
def test_a_look_up_that_fails_keeps_the_nodes(tmp_path, fails, why):
    with OllamaNode("m") as one, DnsServer({"pool.test": [("A", "127.0.0.1")]}) as dns:
        url = f"dns://pool.test:{one.port}"
        with Gateway(config=config(tmp_path, dns, url)) as gateway:
            wait_nodes(gateway, f"127.0.0.1:{one.port}")
            if fails == "gone":
                del dns.records["pool.test"]
            elif fails == "empty":
                dns.records["pool.test"] = []
            else:
                dns.fails = fails
            wait_until(lambda: names_of(gateway)[0]["error"], "it is told")
            assert names_of(gateway)[0] == {"name": url, "url": url, "nodes": 1,
                                            "error": f'cannot look up "pool.test": {why}'}
            wait_until(lambda: gateway.metric('mcpgate_discovery_lookups_total{result="failed"}') >= 1, "it counts")
            assert generate(gateway).status == 200
            dns.fails, dns.records["pool.test"] = None, [("A", "127.0.0.1")]
            wait_until(lambda: not names_of(gateway)[0]["error"], "it is over")
            assert gateway.errors().count("nodes_lookup_failed") == 1
            assert gateway.errors().count("nodes_found") == 2


def test_it_begins_before_dns_answers(tmp_path):
    with OllamaNode("m") as one, DnsServer() as dns:
        dns.fails = "servfail"
        with Gateway(config=config(tmp_path, dns, f"dns://pool.test:{one.port}"), wait=False) as gateway:
            gateway.wait_line("not ready: no node is up")
            assert generate(gateway).status == 503
            dns.fails, dns.records["pool.test"] = None, [("A", "127.0.0.1")]
            wait_nodes(gateway, f"127.0.0.1:{one.port}")
            assert generate(gateway).status == 200


def test_requests_wait_for_the_first_answer(tmp_path):
    with OllamaNode("m") as one, DnsServer({"pool.test": [("A", "127.0.0.1")]}) as dns:
        dns.answers.clear()
        with Gateway(config=config(tmp_path, dns, f"dns://pool.test:{one.port}"), wait=False) as gateway:
            wait_until(lambda: dns.asked, "it is asked")
            assert ask(gateway.admin, "GET", "/readyz").body == b"starting\n"
            answers = []
            waiting = threading.Thread(target=lambda: answers.append(generate(gateway)))
            waiting.start()
            wait_until(lambda: gateway.metric("mcpgate_exchanges_running") == 1, "the request is there")
            dns.answers.set()
            waiting.join(20)
            assert answers[0].status == 200
            gateway.wait_line("ready")


def test_a_node_that_dns_no_longer_knows_ends_what_it_has(tmp_path):
    gate = Gate()
    parts = generate_parts("x")
    with OllamaNode("m") as one, OllamaNode("m") as two, DnsServer(service(one.port)) as dns:
        script = ndjson(*parts)
        one.next("/api/generate", [*script[:2], gate, *script[2:]])
        with Gateway(config=config(tmp_path, dns, "srv://_ollama._tcp.pool.test")) as gateway:
            wait_nodes(gateway, f"127.0.0.1:{one.port}")
            answers = []
            running = threading.Thread(target=lambda: answers.append(generate(gateway, stream=True)))
            running.start()
            gate.wait_reached()
            dns.records.update(service(two.port))
            wait_nodes(gateway, f"127.0.0.1:{two.port}")
            assert generate(gateway).status == 200
            gate.open()
            running.join(20)
            assert answers[0].lines() == parts


def test_found_nodes_are_cordoned_by_their_address_also_after_a_restart(tmp_path):
    with OllamaNode("m") as one, OllamaNode("m") as two, DnsServer(service(one.port, two.port)) as dns:
        name = f"127.0.0.1:{one.port}"
        settings = config(tmp_path, dns, "srv://_ollama._tcp.pool.test")
        with Gateway(config=settings) as gateway:
            wait_nodes(gateway, name, f"127.0.0.1:{two.port}")
            assert cli(gateway, "node", "cordon", name) == f"{name}: up, cordoned\n"
            shown = cli(gateway, "nodes").splitlines()
            assert shown[0].endswith("FOUND BY")
            assert all(line.endswith("srv://_ollama._tcp.pool.test") for line in shown[1:3])
            assert "stands for nodes that DNS knows: name one of them" in \
                cli(gateway, "node", "cordon", "srv://_ollama._tcp.pool.test", status=1)
            assert "is a node of the configuration" in \
                cli(gateway, "node", "remove", "srv://_ollama._tcp.pool.test", status=1)
            assert cli(gateway, "node", "remove", name, status=1) == \
                f"mcpgate: '{name}' was found by srv://_ollama._tcp.pool.test: take it out of DNS, or cordon it\n"
        with Gateway(config=settings) as gateway:
            wait_nodes(gateway, name, f"127.0.0.1:{two.port}")
            assert nodes(gateway)[name]["service"] == "cordoned"
            assert [line for line in gateway.lines if line.startswith(f"node   {name} up, cordoned (ollama")]
            assert cli(gateway, "node", "uncordon", name).startswith(f"{name}: up, ")
            wait_until(lambda: nodes(gateway)[name]["service"] == "serving", "it serves")


def test_a_name_is_added_and_removed_by_hand(tmp_path):
    with OllamaNode("m") as one, DnsServer({"pool.test": [("A", "127.0.0.1")]}) as dns:
        url = f"dns://pool.test:{one.port}"
        settings = config(tmp_path, dns, nodes=[{"url": "http://127.0.0.9:9"}])
        with Gateway(config=settings, wait=False) as gateway:
            gateway.wait_line("not ready: no node is up")
            assert cli(gateway, "node", "add", url, "--name", "pool") == "pool: added, nodes come as they are found\n"
            assert "there is a node called 'pool'" in cli(gateway, "node", "add", url, "--name", "pool", status=1)
            wait_until(lambda: f"127.0.0.1:{one.port}" in nodes(gateway), "it is found")
        with Gateway(config=settings) as gateway:
            wait_until(lambda: f"127.0.0.1:{one.port}" in nodes(gateway), "it is found")
            assert nodes(gateway)[f"127.0.0.1:{one.port}"]["found_by"] == "pool"
            assert cli(gateway, "node", "remove", "pool") == "pool: removed\n"
            assert list(nodes(gateway)) == ["127.0.0.9:9"]


def test_a_reload_changes_names_and_keeps_what_is_known(tmp_path):
    with OllamaNode("m") as one, OllamaNode("x") as two, DnsServer({"pool.test": [("A", "127.0.0.1")]}) as dns:
        path = tmp_path / "nodes.yaml"
        pool = {"url": f"dns://pool.test:{one.port}"}

        def write(*entries):
            path.with_suffix(".new").write_text(json.dumps({"nodes": list(entries)}))
            path.with_suffix(".new").rename(path)
        write(pool)
        settings = config(tmp_path, dns)
        del settings["nodes"]
        settings["discovery"].update(file=str(path), interval="1h")
        with Gateway(config=settings) as gateway:
            wait_nodes(gateway, f"127.0.0.1:{one.port}")
            write(pool, {"url": f"dns://pool.test:{two.port}"})
            wait_nodes(gateway, f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}")
            assert generate(gateway, model="x").status == 200
            write({"url": f"dns://pool.test:{two.port}"})
            wait_nodes(gateway, f"127.0.0.1:{two.port}")
            assert gateway.metric('mcpgate_node_transitions_total{to="down"}') == 0


@pytest.mark.parametrize("entry, said", [
    ("dns://", "expected dns://NAME:PORT, with a name"),
    ("dns://:80", "expected dns://NAME:PORT, with a name"),
    ("dns://10.0.0.1:80", "expected dns://NAME:PORT, with a name"),
    ("dns://[::1]:80", "expected dns://NAME:PORT, with a name"),
    ("dns://unix:/x", "expected dns://NAME:PORT, with a name"),
    ("dns://http://x", "expected dns://NAME:PORT, with a name"),
    ("dns://x:0", "bad port \"0\": expected a number from 1 to 65535"),
    ("srv://_a._tcp.x:80", "expected srv://_SERVICE._tcp.NAME, without a port"),
    ("srv://a@x", "user:password@ is not supported: use api_key_file")])
def test_a_name_that_is_none_is_refused(tmp_path, entry, said):
    path = tmp_path / "mcpgate.yaml"
    path.write_text(json.dumps({"nodes": [{"url": entry}]}))
    result = subprocess.run([BIN, "check-config", "-c", str(path)], env=environment(), text=True, timeout=20,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert (result.returncode, result.stdout) == (2, f"mcpgate: {path}:1: nodes[0].url: '{entry}': {said}\n")


def test_a_resolver_that_is_none_is_refused(tmp_path):
    for bad in ("x", "127.0.0.1", "127.0.0.1:0", "unix:/x", "name:53", ":53"):
        path = tmp_path / "mcpgate.yaml"
        path.write_text(json.dumps({"discovery": {"resolver": bad}}))
        result = subprocess.run([BIN, "check-config", "-c", str(path)], env=environment(), text=True, timeout=20,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert result.returncode == 2
        assert "expected the address of a server and its port, such as 127.0.0.1:8600" in result.stdout
