# SPDX-License-Identifier: Apache-2.0
"""The processes of a benchmark: the simulated node, and what stands between it and the load."""
import contextlib
import ctypes
import os
import pathlib
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import time

START_DEADLINE_S = 20
CACHE = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "bench"


class Failed(Exception):
    """One line that says what is wrong."""


def raise_open_files(wanted=65536):
    """For this process and its children; root may go beyond the hard limit. What there is now."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def prepare_child():
    """A run that is killed leaves nothing behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_port():
    """For servers that cannot be asked for one."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find_server(name):
    """(path, environment) of a server: one that is installed, or the package that tools/deps unpacked."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path:
        return path, {}
    path = CACHE / "usr/sbin" / name
    if path.exists():
        libraries = ":".join(str(p) for p in CACHE.glob("**/lib/*-linux-gnu*"))
        return str(path), {"LD_LIBRARY_PATH": libraries}
    return None, {}


class Server:
    """A child process, its log in the folder of the run."""

    def __init__(self, folder, name, command, env=None, banner=None):
        """`banner`: the line of standard output that says it is ready; `lines` are those up to it."""
        self.name, self.lines = name, []
        self.log = pathlib.Path(folder, f"{name}.log")
        with open(self.log, "ab") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stderr=log,
                stdout=subprocess.PIPE if banner else log, preexec_fn=prepare_child,
                env={**os.environ, **(env or {})})
        if banner:
            self.read_until(banner)

    def read_until(self, banner):
        deadline = time.monotonic() + START_DEADLINE_S
        text = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not re.search(banner, text, re.M):
                ready = selector.select(max(0, deadline - time.monotonic()))
                more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
                if not more:
                    self.stop()
                    raise Failed(f"{self.name} did not start: {self.last_words()}")
                text += more
        self.ready_s = time.monotonic() - self.started
        self.lines = text.decode().splitlines()

    def address(self, prefix=""):
        pattern = re.compile(prefix + r"listening on (\S+)$")
        return next(m[1] for line in self.lines if (m := pattern.match(line)))

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it says nothing"

    def wait_for_port(self, port):
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failed(f"{self.name} did not start: {self.last_words()}")
            time.sleep(0.01)

    def pids(self):
        """Its process and those it has started."""
        pids, found = [self.process.pid], 0
        while found < len(pids):
            pid = pids[found]
            pids += [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            found += 1
        return pids

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def start_sim(build, folder):
    sim = Server(folder, "sim", [build / "mcpgate", "sim", "--http", "127.0.0.1:0", "--profile", "echo"],
                 banner=rb"^ready$")
    sim.at = sim.address(r"http\s+")
    return sim


def start_relay(build, folder, node):
    relay = Server(folder, "relay", [build / "bench/bench-relay", node], banner=rb"^listening on .*\n")
    relay.at = relay.address()
    return relay


NGINX = """
daemon off;
{user}
worker_processes auto;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream node {{
        server {node};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        location / {{
            proxy_pass http://node;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def start_nginx(_build, folder, node):
    path, env = find_server("nginx")
    if not path:
        return None
    port, files = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    config = pathlib.Path(folder, "nginx.conf")
    config.write_text(NGINX.format(user="user root;" if os.geteuid() == 0 else "", files=files, folder=folder,
                                   node=node, port=port, connections=min(files, 30000)))
    nginx = Server(folder, "nginx", [path, "-p", folder, "-e", "stderr", "-c", config], env)
    nginx.wait_for_port(port)
    nginx.at = f"127.0.0.1:{port}"
    return nginx


HAPROXY = """
global
    maxconn {connections}
defaults
    mode http
    http-reuse always
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend all
    bind 127.0.0.1:{port} backlog 4096
    default_backend node
backend node
    server node {node} pool-purge-delay 1h
"""


def start_haproxy(_build, folder, node):
    path, env = find_server("haproxy")
    if not path:
        return None
    port, files = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    config = pathlib.Path(folder, "haproxy.cfg")
    config.write_text(HAPROXY.format(node=node, port=port, connections=min(30000, (files - 500) // 2)))
    haproxy = Server(folder, "haproxy", [path, "-db", "-f", config], env)
    haproxy.wait_for_port(port)
    haproxy.at = f"127.0.0.1:{port}"
    return haproxy


# The gateway with an option that it may not know, or not be able to follow on this machine.
VARIANTS = {"epoll": ("--backend", "epoll"), "io_uring": ("--backend", "io_uring"),
            "single": ("--mode", "single"), "main-sub": ("--mode", "main-sub")}


def start_mcpgate(build, folder, node, name="mcpgate", options=(), env=None):
    """As a user gets it: reactors, backend and mode are those of no option."""
    config = pathlib.Path(folder, f"{name}.yaml")
    config.write_text("log: {access: off}\n")
    gateway = Server(folder, name, [
        build / "mcpgate", "serve", "-c", config, "--node", f"http://{node}", "--http", "127.0.0.1:0",
        "--mcp", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options], env, banner=rb"^ready$")
    gateway.at = gateway.address(r"http\s+")
    gateway.mcp_at = gateway.address(r"mcp\s+")
    return gateway


STARTS = {"relay": start_relay, "nginx": start_nginx, "haproxy": start_haproxy, "mcpgate": start_mcpgate}


def knows_option(build, option):
    usage = subprocess.run([build / "mcpgate", "serve", "--help"], capture_output=True, text=True, check=False)
    return re.search(rf"^\s+{option}\b", usage.stdout, re.M) is not None


def start(name, build, folder, node):
    """(server, None), or (None, why there is none)."""
    if name in STARTS:
        server = STARTS[name](build, folder, node)
        return server, None if server else "not installed, tools/deps bench fetches it"
    option = VARIANTS[name]
    if not knows_option(build, option[0]):
        return None, f"this mcpgate has no {option[0]}"
    try:
        return start_mcpgate(build, folder, node, f"mcpgate-{name}", option), None
    except Failed as failure:
        return None, str(failure)
