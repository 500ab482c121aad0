# SPDX-License-Identifier: Apache-2.0
"""mcpgate import: other gateways' configurations (tests/fixtures/import) become ours, and what does not is said."""
import os
import pathlib
import re
import subprocess

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/import"
BIN = os.environ.get("MCPGATE_BIN", "build/asan/mcpgate")
FILES = ["olla.yaml", "llama-swap.yaml", "litellm.yaml", "nginx.conf"]


def run(*args, text=None):
    return subprocess.run([BIN, *args], input=text, capture_output=True, text=True, timeout=20, check=False)


def convert(text, *args):
    result = run("import", *args, "-", text=text)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", FILES)
def test_each_becomes_what_is_written_beside_it(name, tmp_path):
    text = (FOLDER / name).read_text()
    out = convert(text)
    assert out == (FOLDER / (name + ".mcpgate")).read_text()
    lost = int(re.search(r"# Not carried over \((\d+)\)", out)[1])
    assert out.count("\n# line ") == lost
    made = tmp_path / "mcpgate.yaml"
    made.write_text(out)
    made.chmod(0o600)
    check = run("check-config", "-c", str(made), "--insecure")
    assert (check.returncode, check.stderr) == (0, "")


def test_no_key_is_in_what_was_lost():
    for name in FILES:
        lost = convert((FOLDER / name).read_text()).split("# Not carried over")[1]
        assert "secret" not in lost and "pass@" not in lost


def test_it_listens_to_all_only_with_a_word_about_keys():
    assert "without keys" in convert("server { listen 80; location / { proxy_pass http://127.0.0.1:1; } }")
    assert "without keys" not in convert("server { listen 127.0.0.1:80; location / { proxy_pass http://127.0.0.1:1; } }")


def test_what_yaml_takes_nowhere_is_a_question_mark():
    odd = b"a\xff\xc2\x85b\xe2\x80\xa8c\xef\xbb\xbfd\x01e\xc3\xa9"
    conf = b"server { odd " + odd + b"; location / { proxy_pass http://h; proxy_set_header X-A " + odd + b"; } }"
    result = subprocess.run([BIN, "import", "-"], input=conf, capture_output=True, timeout=20, check=True)
    out = result.stdout.decode()
    assert 'value: "a???b???c???d?e\u00e9"' in out
    assert "odd: a???b???c???d?e\u00e9\n" in out.split("Not carried over")[1]
    assert len(out.splitlines()) == out.count("\n")


def test_two_nodes_of_one_name_are_told_apart():
    deployments = [{"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": "http://h:1", "api_key": key}}
                   for key in ("one", "two")]
    out = convert(str({"model_list": deployments}).replace("'", '"'))
    assert out.count("- url:") == 2 and 'name: "node-2"' in out


@pytest.mark.parametrize("text, value", [("90", "90s"), ("500ms", "500ms"), ("1m30s", "90s"), ("1h", "3600s"),
                                         ("1.5s", "1500ms")])
def test_times(text, value):
    conf = f"server {{ location / {{ proxy_pass http://h; proxy_read_timeout {text}; }} }}"
    assert f'  idle: "{value}"\n' in convert(conf)


@pytest.mark.parametrize("text", ["0", "soon", "1y", "5x3", "99d"])
def test_what_is_no_time_here_is_lost(text):
    out = convert(f"server {{ location / {{ proxy_pass http://h; proxy_read_timeout {text}; }} }}")
    assert "timeouts:" not in out and "proxy_read_timeout" in out.split("Not carried over")[1]


@pytest.mark.parametrize("size, value", [("50m", 50 << 20), ("1g", 1 << 30), ("2048", 2048), ("8K", 8192)])
def test_sizes(size, value):
    conf = f"server {{ client_max_body_size {size}; location / {{ proxy_pass http://h; }} }}"
    assert f'  max_body: "{value}B"\n' in convert(conf)


@pytest.mark.parametrize("args, text, error", [
    ([], "http { server { listen 80;", "standard input: line 1: expected a mapping (key: value); as nginx's: line 1: a "
     "block does not end: expected }"),
    ([], "a: [\n", "standard input: line 2: not YAML: did not find expected node content; as nginx's: line 1: expected "
     "; or { behind a directive"),
    ([], "a: 1", "standard input: line 1: not known as a configuration of olla, llama-swap, litellm or nginx; say which "
     "with --from"),
    (["--from", "olla"], "a: &x [*x]", "standard input: line 1: more than 64 levels"),
    (["--from", "nginx"], "a b;\n}", "standard input: line 2: a } without its {"),
    (["--from", "nginx"], 'a "b', "standard input: line 1: a string in quotes does not end"),
])
def test_what_is_wrong_is_said_with_its_line(args, text, error):
    result = run("import", *args, "-", text=text)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"mcpgate: {error}\n")


@pytest.mark.parametrize("args, error", [
    ([], "expected a file, or - for standard input; see mcpgate import --help"),
    (["no-such-file"], "no-such-file: No such file or directory"),
    (["/"], "/: Is a directory"),
    (["a", "b"], "expected one file, not also 'b'; see mcpgate import --help"),
    (["--from", "x", "a"], "--from: expected olla, llama-swap, litellm or nginx, not 'x'; see mcpgate import --help"),
])
def test_wrong_arguments(args, error):
    result = run("import", *args)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"mcpgate: {error}\n")
