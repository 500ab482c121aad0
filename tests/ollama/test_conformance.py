# SPDX-License-Identifier: Apache-2.0
"""Through the gateway Ollama answers as it does directly, but for what docs/differences.md says."""
import functools
import json

import pytest

import compare
from cases import SCENARIOS

ROWS = compare.read_list()


@pytest.fixture(scope="session")
def found_in(ollama, the_gateway):
    """What differs in a scenario: {case: {field: (direct, through)}}."""
    @functools.cache
    def ask_both(scenario):
        cases = SCENARIOS[scenario]
        direct = [compare.observe(ollama.address, case) for case in cases]
        through = [compare.observe(the_gateway.http, case) for case in cases]
        return {case.name: compare.compare(*both) for case, *both in zip(cases, direct, through)}
    return ask_both


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_differs_is_listed(found_in, gateway, scenario):
    for name, found in found_in(scenario).items():
        left = compare.unlisted(name, found, ROWS)
        assert not left, name + "".join(f"\n{field}\n  direct:  {json.dumps(direct)[:2000]}\n  through: "
                                        f"{json.dumps(through)[:2000]}" for field, (direct, through) in left.items())


def test_what_is_not_compared_is_listed():
    text = compare.LIST.read_text()
    assert not [name for name in [*compare.RULES, *compare.HEADER_RULES, *compare.ADDED] if f"`{name}`" not in text]


def test_what_is_listed_differs(found_in, gateway):
    found = {name: fields for scenario in SCENARIOS for name, fields in found_in(scenario).items()}
    stale = [text for row in ROWS for text in compare.stale(row, found)]
    assert not stale, "\n".join(stale)
