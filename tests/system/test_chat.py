# SPDX-License-Identifier: Apache-2.0
"""`mcpgate chat`, line by line and on a terminal, against a scripted MCP server."""
import json
import pathlib
import re
import signal
import stat
import termios
import threading

import pytest

from cli import BIN, bad, environment, good, op_of, says
from http_bytes import DEADLINE_S, wait_until
from mcp_server import McpServer
from terminal import Terminal

HEALTH = {"status": "ok", "nodes": [{"name": "a", "models": ["llama3:8b", "bert:latest"]},
                                    {"name": "b", "models": ["llama3:8b", "llama4"]}]}
UP, PASTE, PASTED = "\x1b[A", "\x1b[200~", "\x1b[201~"


def echo(exchange):
    """Says what was said."""
    if op_of(exchange.request) == "health":
        exchange.part(HEALTH)
    elif exchange.request["messages"][-1]["content"] == "wrong":
        exchange.error("bad_request", "not that")
    else:
        for part in says("you said ", exchange.request["messages"][-1]["content"], chat=True):
            exchange.part(part)


class Chat(Terminal):
    """One on a terminal, at its first prompt; its files are in `folder`."""

    def __init__(self, server, folder, *args, shell=None, **env):
        home = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}
        command = [BIN, "chat", "-m", "m", *args]
        # While a line is edited, pasting is bracketed.
        begin, self.edited = ("", "\n") if env.get("TERM") == "dumb" else ("\x1b[?2004h", "\x1b[?2004l")
        self.prompt = begin + ">>> "
        super().__init__(["bash", "-c", shell, *command] if shell else command,
                         environment(**{"MCPGATE_HOST": server.address} | home | env))
        self.expect(self.prompt)

    def say(self, text):
        """What is shown between a line and the next prompt."""
        self.type(text + "\n")
        self.expect(self.edited)
        return self.expect(self.prompt)

    def more(self, text):
        """A line that is not the last of its text."""
        self.type(text + "\n")
        self.expect("... ")

    def interrupt(self):
        self.type("\x03")
        return self.expect(self.prompt)

    def leave(self):
        self.type("\x04")
        assert self.wait() == 0


def said(server):
    """The last thing each request said to the model."""
    return [request["messages"][-1]["content"] for request in server.requests if "messages" in request]


# --- without a terminal -----------------------------------------------------------------------------

def test_line_by_line():
    def answer(exchange):
        for part in says(exchange.request["messages"][-1]["content"].upper(), "!", chat=True):
            exchange.part(part)

    with McpServer(answer) as server:
        assert good("chat", "-m", "m", "-s", "be", "-n", "3", server=server,
                    stdin="one\n\n  two  \n/bye\nthree\n") == "ONE!\nTWO!\n"
        assert good("chat", "-m", "m", server=server, stdin="/slash") == "/SLASH!\n"
    options = {"options": {"num_predict": 3}, "model": "m"}
    first = [{"role": "system", "content": "be"}, {"role": "user", "content": "one"}]
    assert server.requests[0] == options | {"messages": first}
    assert server.requests[1] == options | {"messages": [
        *first, {"role": "assistant", "content": "ONE!"}, {"role": "user", "content": "two"}]}
    assert len(server.connections) == 2


def test_without_a_terminal_the_first_error_is_the_end():
    with McpServer(lambda exchange: exchange.error("internal", "no")) as server:
        assert bad(1, "chat", "-m", "m", server=server, stdin="a\nb\n") == "mcpgate: internal: no"
    assert len(server.requests) == 1


def test_without_a_terminal_nothing_is_kept(tmp_path):
    with McpServer(echo) as server:
        good("chat", "-m", "m", server=server, stdin='"""a\n', HOME=str(tmp_path), XDG_STATE_HOME="")
    assert said(server) == ['"""a']
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_cannot_edit(tmp_path):
    """Lines come as the terminal gives them."""
    with McpServer(echo) as server:
        with Chat(server, tmp_path, TERM="dumb") as chat:
            assert chat.say("one") == "you said one\n>>> "
            chat.more('"""two')
            assert chat.say('lines"""') == "you said two\nlines\n>>> "
            assert "Use Ctrl-D or /bye to leave.\n>>> " in chat.interrupt()
            chat.leave()
    assert "\x1b" not in chat.seen
    assert not (tmp_path / "state").exists()


# --- on a terminal ----------------------------------------------------------------------------------

def test_an_idle_connection_that_was_closed(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            assert "you said a\n" in chat.say("a")
            server.connections[0].close()
            assert server.connections[0].gone.wait(DEADLINE_S)
            assert "you said b\n" in chat.say("b")
            chat.leave()
    assert [len(request["messages"]) for request in server.requests] == [1, 3]


def test_interrupts(tmp_path):
    """Ctrl-C breaks the answer off and keeps the chat; the gateway sees the connection close."""
    broken_off = threading.Event()

    def answer(exchange):
        text = exchange.request["messages"][-1]["content"]
        if text == "forever":
            exchange.part(says("some words", chat=True)[0])
            exchange.wait_gone()
            broken_off.set()
        elif text == "silent":
            exchange.wait_gone()
        else:
            echo(exchange)

    with McpServer(answer) as server:
        with Chat(server, tmp_path) as chat:
            assert chat.seen.startswith("m; /help lists the commands\n")
            chat.type("forever\n")
            chat.expect("some words")
            chat.type("\x03")
            assert broken_off.wait(DEADLINE_S)
            assert chat.expect(chat.prompt).startswith("^C\n")
            chat.type("silent\n")
            wait_until(lambda: len(server.requests) == 2, "the second request")
            assert "^C\n" in chat.interrupt()
            assert "mcpgate: bad_request: not that\n" in chat.say("wrong")
            assert "\nUse Ctrl-D or /bye to leave.\n" in chat.interrupt()
            chat.type("not sent")
            chat.expect("not sent")
            assert "^C\n" in chat.interrupt()
            chat.more('"""nor')
            chat.interrupt()
            assert chat.say("again").startswith("you said again\n")
            chat.leave()
    # What was broken off is kept as far as it went; a line without any answer is forgotten.
    assert server.requests[-1]["messages"] == [
        {"role": "user", "content": "forever"}, {"role": "assistant", "content": "some words"},
        {"role": "user", "content": "again"}]
    assert len(server.connections) == 3


def test_an_interrupt_is_a_cancel_where_that_was_agreed(tmp_path):
    def answer(exchange):
        if exchange.request["messages"][-1]["content"] == "forever":
            exchange.part(says("some words", chat=True)[0])
        else:
            echo(exchange)

    with McpServer(answer, offers=["cancel"]) as server:
        with Chat(server, tmp_path) as chat:
            chat.type("forever\n")
            chat.expect("some words")
            assert chat.interrupt().startswith("^C\n")
            assert len(server.cancelled) == 1
            assert chat.say("again").startswith("you said again\n")
            chat.leave()
    assert len(server.connections) == 1
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["forever", "some words", "again"]


@pytest.mark.parametrize("part, shown", [({"content": "so far"}, "so far\n"), ({"content": "whole\n"}, "whole\n"),
                                         ({"content": "", "thinking": "hm"}, "hm\n\n")])
def test_an_error_behind_some_text_stands_on_a_line_of_its_own(tmp_path, part, shown):
    def answer(exchange):
        exchange.part({"message": {"role": "assistant"} | part, "done": False})
        exchange.error("stream_interrupted", "cut")

    with McpServer(answer) as server:
        with Chat(server, tmp_path) as chat:
            assert chat.say("a") == f"{shown}mcpgate: stream_interrupted: cut\n{chat.prompt}"
            chat.leave()


def test_the_gateway_goes_away_and_comes_back(tmp_path):
    """Lines fail with one error each and are forgotten; nothing else is, and the next line connects anew."""
    path = tmp_path / "gateway.sock"
    with McpServer(echo, unix_path=path) as server, Chat(server, tmp_path) as chat:
        chat.say("one")
        server.__exit__(None)
        for _ in range(2):
            said_so = chat.say("lost")
            assert said_so.count("mcpgate: no gateway there: ") == said_so.count("\n") == 1
        assert "Saved; " in chat.say("/save kept")
        assert "messages    2\n" in chat.say("/show")
        path.unlink()
        with McpServer(echo, unix_path=path) as again:
            assert chat.say("two").startswith("you said two\n")
            chat.leave()
    assert [message["content"] for message in again.requests[-1]["messages"]] == ["one", "you said one", "two"]
    kept = json.loads((tmp_path / "state/mcpgate/chats/kept.json").read_text())
    assert [message["content"] for message in kept["messages"]] == ["one", "you said one"]


def test_the_gateway_goes_away_in_an_answer(tmp_path):
    def answer(exchange):
        exchange.part(says("so far", chat=True)[0])
        exchange.connection.close()

    with McpServer(answer) as server, Chat(server, tmp_path) as chat:
        assert chat.say("a").startswith("so far\nmcpgate: ")
        assert "messages    0\n" in chat.say("/show")
        chat.leave()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_editing(tmp_path, locale):
    with McpServer(echo) as server:
        with Chat(server, tmp_path, LC_ALL=locale) as chat:
            assert chat.say("grüßex\x7f 😀").startswith("you said grüße 😀\n")
            assert chat.say("b\x01a").startswith("you said ab\n")
            assert chat.say("one two\x17").startswith("you said one\n")
            chat.leave()


def test_texts_of_several_lines(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            chat.more('"""one')
            chat.more("")
            chat.more('  two"" "')
            for line in ('end"""', '"""short"""', PASTE + "a\rb\r" + PASTED,  # \r: what a terminal sends for Enter
                         "a\x1b\rb", PASTE + "a\x07b" + PASTED):  # Alt-Enter; what is no text
                chat.say(line)
            chat.leave()
    assert said(server) == ['one\n\n  two"" "\nend', "short", "a\nb", "a\nb", "ab"]


def test_signals_leave_the_terminal_as_it_was(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            assert not termios.tcgetattr(chat.master)[3] & termios.ICANON
            chat.process.send_signal(signal.SIGWINCH)
            assert chat.say("a").startswith("you said a\n")
            chat.process.send_signal(signal.SIGTERM)
            assert chat.wait() == -signal.SIGTERM
            assert chat.seen.endswith("\x1b[?2004l")


def test_stop_and_go_on(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path, shell='set -m; "$0" "$@"; echo stopped; read; fg') as chat:
            chat.type("half")
            chat.expect("half")
            chat.type("\x1a")
            chat.expect("\x1b[?2004l")
            chat.expect("\nstopped\n")
            assert termios.tcgetattr(chat.master)[3] & termios.ICANON
            chat.type("\n")
            chat.expect(">>> half")
            assert chat.say(" and half").startswith("you said half and half\n")
            chat.leave()


# --- commands ---------------------------------------------------------------------------------------

def test_help(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            text = chat.say("/help")
            for command in ("/bye", "/clear", "/help", "/load", "/model", "/save", "/set", "/show"):
                assert f"  {command}" in text
            assert chat.say("/?") == text
            assert "/set nohistory" in chat.say("/set")
            chat.type("/bye\n")
            assert chat.wait() == 0
    assert server.requests == []


@pytest.mark.parametrize("line, error", [
    ("/frob", "no command '/frob'; see /help"), ("/set frob", "no setting 'frob'; see /set"),
    ("/set format xml", "expected /set format json"), ("/set format", "expected /set format json"),
    ("/set verbose yes", "expected /set verbose"), ("/clear all", "expected /clear"),
    ("/set parameter temperature", "expected /set parameter NAME VALUE..."),
    ("/save", "expected /save NAME"), ("/load none", "/load: {state}/none.json: No such file or directory"),
    ("/load .", "/load: expected a name of at most 100 bytes that begins with no dot, or a path with a slash"),
    ("/load /etc", "/load: /etc: not a file"), ("/load /dev/null", "/load: /dev/null: not a file"),
    ("/save ./no/such/x", "/save: ./no/such/x: No such file or directory")])
def test_what_is_wrong_with_a_command(tmp_path, line, error):
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            assert f"mcpgate: {error.format(state=tmp_path / 'state/mcpgate/chats')}\n" in chat.say(line)
            chat.leave()


def test_settings(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path, "-o", "seed=1") as chat:
            for line in ("/set parameter temperature 0.10", "/set parameter stop a b", "/set system be  brief",
                         "/set format json", "/set think high", "/model llama3:8b", "one"):
                assert "mcpgate: " not in chat.say(line)
            shown = chat.say("/show")
            assert '"temperature":0.10' in shown and '"be  brief"' in shown and "messages    3\n" in shown
            chat.more('/set system """of two')
            for line in ('lines"""', "/set noformat", "/set nothink", "two"):
                chat.say(line)
            for line in ("/set system", "/clear", "three"):
                chat.say(line)
            assert "eval count" not in chat.seen
            chat.leave()
    options = {"seed": 1, "temperature": 0.1, "stop": ["a", "b"]}
    one, two, three = server.requests
    assert one == {"options": options, "model": "llama3:8b", "format": "json", "think": "high", "messages": [
        {"role": "system", "content": "be  brief"}, {"role": "user", "content": "one"}]}
    assert two["messages"][0] == {"role": "system", "content": "of two\nlines"}
    assert len(two["messages"]) == 4 and two["think"] is False and "format" not in two
    assert three["messages"] == [{"role": "user", "content": "three"}]


def test_clear_keeps_the_system_prompt(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path, "-s", "be") as chat:
            for line in ("one", "/clear", "two"):
                chat.say(line)
            chat.leave()
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["be", "two"]


def test_models(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            chat.say("/model llama4")
            assert "  bert:latest\n  llama3:8b\n* llama4\n" in chat.say("/model")
            chat.leave()


def test_save_and_load(tmp_path):
    with McpServer(echo) as server:
        with Chat(server, tmp_path, "-o", "temperature=0.10", "-s", "be") as chat:
            chat.say("one")
            assert "Saved; /load talk brings it back.\n" in chat.say("/save talk")
            chat.say(f"/save {tmp_path}/as-a-file")
            chat.leave()
        path = tmp_path / "state/mcpgate/chats/talk.json"
        assert path.read_bytes() == (tmp_path / "as-a-file").read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with Chat(server, tmp_path, "-m", "other", "-o", "seed=1") as chat:
            chat.say("to be replaced")
            assert "Loaded 3 message(s); the model is m.\n" in chat.say("/load talk")
            chat.say("two")
            chat.leave()
    assert json.loads(path.read_text()) == {"model": "m", "options": {"temperature": 0.1}, "messages": [
        {"role": "system", "content": "be"}, {"role": "user", "content": "one"},
        {"role": "assistant", "content": "you said one"}]}
    assert server.requests[-1] == json.loads(path.read_text()) | {
        "messages": [*json.loads(path.read_text())["messages"], {"role": "user", "content": "two"}]}


@pytest.mark.parametrize("text, why", [
    ("{", "not JSON (unexpected end of data at byte 1)"), ("", "empty"),
    ("[]", "expected a conversation, an object with model and messages"),
    ('{"model":"m","messages":[{"role":"user"}]}', "expected a conversation, an object with model and messages"),
    ('{"messages":[]}', "expected a conversation, an object with model and messages")])
def test_a_file_that_is_no_conversation(tmp_path, text, why):
    (tmp_path / "x").write_text(text)
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            assert f"mcpgate: /load: {tmp_path}/x: {why}\n" in chat.say(f"/load {tmp_path}/x")
            assert "you said a\n" in chat.say("a")  # the conversation is as it was
            chat.leave()


# --- completion -------------------------------------------------------------------------------------

def test_completion(tmp_path):
    (tmp_path / "state/mcpgate/chats").mkdir(parents=True)
    (tmp_path / "state/mcpgate/chats/talk.json").write_text('{"model":"x","messages":[]}')
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            assert "/set nohistory " in chat.say("/se\t")
            chat.type("/s\t")
            for name in ("/save", "/set", "/show"):
                chat.expect(name)
            chat.say("\x15/model l\t\t3\t")
            assert "llama3:8b  llama4\n" in chat.seen
            assert "* llama3:8b\n" in chat.say("/mo\t")
            chat.say("/set p\ttop_k 5")
            assert "the model is x.\n" in chat.say("/load t\t")
            chat.say("no\tcompletion")
            chat.leave()
    assert server.requests[-1]["model"] == "x"
    assert server.requests[-1]["messages"][-1]["content"] == "nocompletion"


# --- history ----------------------------------------------------------------------------------------

def history(folder):
    return [json.loads(line) for line in (folder / "state/mcpgate/chat_history").read_text().splitlines()]


def test_history(tmp_path):
    path = tmp_path / "state/mcpgate/chat_history"
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            chat.say("first")
            chat.more('"""two')
            chat.say('lines"""')
            chat.say("/show")
            assert history(tmp_path) == ["first", '"""two\nlines"""', "/show"]
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            chat.say("/set nohistory")
            chat.say("secret")
            chat.say("/set history")
            chat.say("last")
            chat.leave()
        assert "secret" not in history(tmp_path)
        path.chmod(0o644)
        with path.open("a") as file:
            file.write("not JSON\n5\n")
        with Chat(server, tmp_path) as chat:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            chat.say(UP)
            chat.say(UP * 4)
            chat.leave()
    assert said(server) == ["first", "two\nlines", "secret", "last", "last", "two\nlines"]


def test_history_is_of_a_bounded_size(tmp_path):
    path = tmp_path / "state/mcpgate/chat_history"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f'"line {i}"\n' for i in range(2500)))
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            chat.say(UP)
            chat.leave()
    assert history(tmp_path) == [f"line {i}" for i in range(1500, 2500)] + ["line 2499"]


@pytest.mark.parametrize("args, env", [(["--no-history"], {}), ([], {"MCPGATE_NOHISTORY": "1"})])
def test_no_history(tmp_path, args, env):
    with McpServer(echo) as server:
        with Chat(server, tmp_path, *args, **env) as chat:
            chat.say("one")
            assert "you said one\n" in chat.say(UP)  # of this chat alone
            chat.leave()
    assert not (tmp_path / "state").exists()


def test_history_that_cannot_be(tmp_path):
    (tmp_path / "state").write_text("")
    with McpServer(echo) as server:
        with Chat(server, tmp_path) as chat:
            assert f"mcpgate: no history: {tmp_path}/state/mcpgate: Not a directory\n" in chat.seen
            assert "you said one\n" in chat.say("one")
            chat.leave()


# --- the page ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("table, before", [("chat_commands", ""), ("chat_settings", "/set ")])
def test_every_command_is_in_the_page(table, before):
    page = pathlib.Path("docs/cli.md").read_text()
    rows = re.findall(r'^CHAT_\w+\(\w+, "(.*?)", "(.*?)"', pathlib.Path(f"src/cli/{table}.def").read_text(), re.M)
    assert len(rows) > 7
    for name, arguments in rows:
        assert f"`{before}{name} {arguments}".rstrip() + "`" in page, name
