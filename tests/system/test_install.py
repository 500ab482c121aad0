# SPDX-License-Identifier: Apache-2.0
"""What is installed can be used where it lies, a program of C can be built with it, and uninstalling leaves
nothing of it. The build folder is that of MCPGATE_BIN, with all of its targets built."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from cli import BIN, good
from gateway import Gateway
from sim import Sim

BUILD = pathlib.Path(BIN).parent
CLIENT = r"""
#include <stdio.h>
#include <string.h>

#include <mcp/client.h>

int main(int argc, char **argv)
{
    static const char request[] = "{\"model\":\"m\",\"prompt\":\"a b c\",\"options\":{\"num_predict\":3}}";
    struct mcp_options *options = mcp_options_new();
    struct mcp_client *client;
    const struct mcp_part *part;
    size_t parts = 0;
    int rc = mcp_options_set_address(options, argv[argc - 1]);

    client = mcp_client_new(options);
    mcp_options_free(&options);
    if (rc == MCP_OK && (rc = mcp_client_connect(client)) == MCP_OK) {
        rc = mcp_client_request(client, 1, request, strlen(request));
    }
    while (rc == MCP_OK && (rc = mcp_client_receive(client, -1, &part)) == MCP_OK) {
        parts++;
        if (mcp_part_last(part)) {
            rc = mcp_part_error(part);
            break;
        }
    }
    printf("%s %zu\n", mcp_error_name(rc), parts);
    mcp_client_free(&client);
    return rc != MCP_OK;
}
"""


def cached(name):
    """A value of CMake's cache."""
    return re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)[1]


def install(prefix, destdir=""):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "DESTDIR": str(destdir)})


def uninstall(*args):
    return subprocess.run(["tools/uninstall", *map(str, args)], capture_output=True, text=True, check=False)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(name="prefix", scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("install") / "prefix"
    install(prefix)
    return prefix


@pytest.fixture(name="library", scope="module")
def libraries(prefix):
    """The folder of libmcp."""
    (path,) = prefix.rglob("libmcp.a")
    return path.parent


def test_what_is_there(prefix, library):
    for path in ("bin/mcpgate", "include/mcp/client.h", "include/mcp/error.h", "include/mcp/errors.def",
                 "share/man/man1/mcpgate.1", "share/man/man5/mcpgate.yaml.5", "share/zsh/site-functions/_mcpgate",
                 "share/bash-completion/completions/mcpgate", "share/fish/vendor_completions.d/mcpgate.fish",
                 "lib/systemd/system/mcpgate.service", "share/doc/mcpgate/README.md"):
        assert (prefix / path).stat().st_size > 0, path
    assert (library / "libmcp.so").resolve().name == "libmcp.so." + good("--version").split()[1]
    assert subprocess.run([prefix / "bin/mcpgate", "--version"], check=True, stdout=subprocess.PIPE).stdout
    assert not [path for path in tree(prefix) if "pycache" in path]


def test_configuration_of_the_service(prefix, tmp_path):
    """It is right, and says what `serve` would do without it."""
    (page,) = prefix.rglob("examples/mcpgate.yaml")
    assert good("check-config", "-c", str(page)) == good("check-config")
    text, count = re.subn(r"^#(?! |$)|^#(?=  -)", "", page.read_text(), flags=re.M)  # what is commented out
    assert count == 3
    (tmp_path / "mcpgate.yaml").write_text(text)
    (tmp_path / "alice.key").write_text("secret\n")
    (tmp_path / "alice.key").chmod(0o600)
    assert "key     alice\n" in good("check-config", "-c", str(tmp_path / "mcpgate.yaml"))


@pytest.mark.parametrize("name", ["libmcp.a", "libmcp.so"])
def test_only_public_functions_can_be_seen(library, name):
    declared = set()
    for header in ("client.h", "error.h"):
        declared |= set(re.findall(r"\b(mcp_\w+)\(", pathlib.Path("include/mcp", header).read_text()))
    option = ["-D"] if name.endswith(".so") else []
    shown = subprocess.run(["nm", *option, "--defined-only", "-g", library / name], check=True, capture_output=True,
                           text=True).stdout
    seen = set(re.findall(r"^[0-9a-f]+ [TDBRWV] (\S+)$", shown, re.M))
    assert declared > {"mcp_client_new", "mcp_error_name"}
    assert seen - {name for name in seen if re.match(r"_*(asan|odr_asan|ubsan|sanitizer|tsan)|_init|_fini", name)} \
        == declared


def build(command, tmp_path, **env):
    (tmp_path / "client.c").write_text(CLIENT)
    sanitize = cached("MCPGATE_SANITIZE").replace(";", ",")
    command = [cached("CMAKE_C_COMPILER"), "-Wall", "-Werror", "-std=c11", "client.c", "-o", "client", *command]
    command += [f"-fsanitize={sanitize}"] if sanitize else []
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, **env})
    return tmp_path / "client"


def pkg_config(library, *args):
    return subprocess.run(["pkg-config", *args, "libmcp"], check=True, capture_output=True, text=True,
                          env={**os.environ, "PKG_CONFIG_PATH": str(library / "pkgconfig")}).stdout.split()


def answers(client, library):
    """The client gets its answer through the gateway."""
    with Sim() as sim, Gateway(sim) as gateway:
        out = subprocess.run([client, "%s:%d" % gateway.mcp], check=True, capture_output=True, text=True, timeout=60,
                             env={**os.environ, "LD_LIBRARY_PATH": str(library)}).stdout
    assert out == "ok 4\n"


def test_a_program_with_the_shared_library(library, tmp_path):
    client = build(pkg_config(library, "--cflags", "--libs"), tmp_path)
    assert b"libmcp.so.0" in client.read_bytes()
    answers(client, library)


def test_a_program_with_the_static_library(prefix, library, tmp_path):
    """Which needs what libmcp itself needs."""
    libs = [word for word in pkg_config(library, "--libs", "--static") if word != "-lmcp"]
    client = build([f"-I{prefix}/include", str(library / "libmcp.a"), *libs], tmp_path)
    assert b"libmcp.so" not in client.read_bytes()
    answers(client, library)


def test_a_program_with_cmake(prefix, library, tmp_path):
    (tmp_path / "client.c").write_text(CLIENT)
    sanitize = cached("MCPGATE_SANITIZE").replace(";", ",")
    flags = f"-fsanitize={sanitize}" if sanitize else ""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(client C)\nfind_package(mcp 0.1 CONFIG REQUIRED)\n"
        "add_executable(client client.c)\ntarget_link_libraries(client PRIVATE mcp::mcp)\n")
    for command in (["cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_FLAGS={flags}",
                     f"-DCMAKE_C_COMPILER={cached('CMAKE_C_COMPILER')}"], ["cmake", "--build", "build"]):
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    answers(tmp_path / "build/client", library)


def test_uninstalling(tmp_path):
    """What was there stays, be it a folder without anything in it; so does what came later."""
    destdir, prefix = tmp_path / "dest", "/opt/some where"
    (destdir / "opt/some where/share/man").mkdir(parents=True)
    (destdir / "opt/some where/share/man/other.1").touch()
    (destdir / "opt/some where/lib").mkdir()
    before = tree(destdir)
    install(prefix, destdir)
    assert (destdir / "opt/some where/bin/mcpgate").exists()
    unit = destdir / "opt/some where/lib/systemd/system/mcpgate.service"
    assert "-c /etc/mcpgate/mcpgate.yaml" in unit.read_text()
    install(prefix, destdir)  # once more, over it
    later = destdir / "opt/some where/share/doc/mcpgate/mine"
    later.touch()
    done = uninstall(prefix, destdir)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert set(tree(destdir)) - set(before) == {
        f"opt/some where/share/doc{name}" for name in ("", "/mcpgate", "/mcpgate/mine")}
    shutil.rmtree(later.parents[1])
    assert tree(destdir) == before
    done = uninstall(prefix, destdir)
    assert done.returncode == 1 and done.stderr.startswith(
        f"tools/uninstall: nothing was installed under {destdir}{prefix}: ")
    assert uninstall().returncode == 2
