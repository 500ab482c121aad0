# SPDX-License-Identifier: Apache-2.0
"""Finds an Ollama as Ollama's own clients do, and a model in it that can be used as it is.

Nothing here pulls, loads or changes anything. http.client knows no proxies, as it must be.
"""
import dataclasses
import http.client
import ipaddress
import json
import re
import urllib.parse

DEFAULT_PORT = "11434"


class Unusable(Exception):
    """One line that says why this Ollama cannot be used."""


# --- OLLAMA_HOST ------------------------------------------------------------------------------
def split_host_port(text):
    """Go's net.SplitHostPort: (host, port), or None where Go returns an error."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            return None
        port = rest[1:]
        if any(c in host for c in "[]") or any(c in port for c in "[]:"):
            return None
        return host, port
    if text.count(":") != 1 or any(c in text for c in "[]"):
        return None
    host, _, port = text.partition(":")
    return host, port


def parse_ip(text):
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def host_url(value):
    """The URL a client uses for this value of OLLAMA_HOST (envconfig.ConnectableHost of Ollama)."""
    value = (value or "").strip().strip("\"'").strip()
    default_port = DEFAULT_PORT
    scheme, found, hostport = value.partition("://")
    if not found:
        scheme, hostport = ("https", "ollama.com:443") if value == "ollama.com" else ("http", value)
    elif scheme in ("http", "https"):
        default_port = "80" if scheme == "http" else "443"

    hostport, _, path = hostport.partition("/")
    split = split_host_port(hostport)
    if split:
        host, port = split
    else:
        ip = parse_ip(hostport.strip("[]"))
        host, port = str(ip) if ip else hostport or "127.0.0.1", default_port
    if not re.fullmatch(r"\+?[0-9]+", port) or int(port) > 65535:
        port = default_port

    ip = parse_ip(host)
    if not host or (ip and ip.is_unspecified):  # what a server listens on; a client wants loopback
        host = "::1" if ip and ip.version == 6 else "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    path = path.strip("/")
    return f"{scheme}://{host}:{port}" + (f"/{path}" if path else "")


# --- asking it --------------------------------------------------------------------------------
class Client:
    def __init__(self, url, timeout_s=5):
        parts = urllib.parse.urlsplit(url)
        self.url, self.base = url, parts.path.rstrip("/")
        self.host, self.port = parts.hostname, parts.port
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds:
            raise Unusable(f"{url}: neither http nor https")
        self.kind, self.timeout_s = kinds[parts.scheme], timeout_s

    def ask(self, method, path, body=None, timeout_s=None):
        """The JSON answer to one call; Unusable if there is none."""
        connection = self.kind(self.host, self.port, timeout=timeout_s or self.timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, self.base + path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read(16 << 20)
            if response.status != 200:
                raise Unusable(f"{self.url}{path} answers {response.status}")
            return json.loads(text)
        except OSError as error:  # name look-up, TLS and time-outs included
            raise Unusable(f"{self.url} does not answer ({error.strerror or error})") from error
        except (http.client.HTTPException, ValueError) as error:
            raise Unusable(f"{self.url} does not answer as an Ollama") from error
        finally:
            connection.close()


# --- the choice -------------------------------------------------------------------------------
@dataclasses.dataclass
class Model:
    name: str
    size_bytes: int
    resident: bool = False
    capabilities: list | None = None  # None: this Ollama lists none


def is_remote(entry):
    name = entry.get("name", "").lower()
    return bool(entry.get("remote_model") or entry.get("remote_host")) or name.endswith((":cloud", "-cloud"))


def looks_like_embedding(entry):
    """For an Ollama that tells no capabilities."""
    details = entry.get("details") or {}
    families = [details.get("family") or "", *(details.get("families") or [])]
    return "embed" in entry.get("name", "").lower() or any("bert" in f.lower() for f in families)


def candidates(tags, ps):
    """Local models that may chat, in the order of choice: resident ones first, then by size."""
    resident = {e.get("name") for e in ps.get("models") or [] if not is_remote(e)}
    found = []
    for entry in tags.get("models") or []:
        capabilities = entry.get("capabilities")
        if not entry.get("name") or is_remote(entry):
            continue
        if "completion" not in capabilities if capabilities else looks_like_embedding(entry):
            continue
        size = entry.get("size")
        found.append(Model(entry["name"], size if isinstance(size, (int, float)) else 0,
                           entry["name"] in resident, capabilities))
    return sorted(found, key=lambda m: (not m.resident, m.size_bytes, m.name))


def choose_model(client):
    """The name of the model to use; None if there is no local chat model."""
    try:
        ps = client.ask("GET", "/api/ps")
    except Unusable:
        ps = {}
    for model in candidates(client.ask("GET", "/api/tags"), ps):
        if model.capabilities:
            return model.name
        try:
            shown = client.ask("POST", "/api/show", {"model": model.name}, timeout_s=30)
        except Unusable:
            continue
        capabilities = shown.get("capabilities")
        if "completion" in capabilities if capabilities else True:
            return model.name
    return None
