# SPDX-License-Identifier: Apache-2.0
"""How cases are written."""
from compare import Case

MODEL, TOOLS_MODEL, THINK_MODEL, EMBED = "tiny", "tinytools", "tinythink", "tinyembed"
PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": PROMPT}]
NATIVE = ("/api/generate", "/api/chat")
GENERATING = NATIVE + ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages")


def case(*args, **options):
    return Case(*args, **options)


def post(name, path, headers=(), /, **body):
    return Case(name, "POST", path, body, headers)


def named(scenario, cases):
    """{scenario: cases}, with its name before theirs."""
    return {scenario: [one._replace(name=f"{scenario}: {one.name}") for one in cases]}
