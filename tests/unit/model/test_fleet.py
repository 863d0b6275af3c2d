"""A run parses equal services once, however many hosts have them."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest

from gofallback.model import DataError, FleetParser, Service, parse_fleet
from gofallback.model.fleet import KEYS
from tests.unit.services import MINIMAL


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each service was parsed."""
    counts: Counter[str] = Counter()
    validate = Service.model_validate

    def counting(raw: dict[str, Any]) -> Service:
        counts[raw["name"]] += 1
        return validate(raw)

    monkeypatch.setattr(Service, "model_validate", counting)
    return counts


def test_services_are_parsed_once_for_all_hosts_of_a_run(parsed: Counter[str]) -> None:
    parser = FleetParser()
    data = {"services": [MINIMAL, {**MINIMAL, "name": "other"}]}
    fleets = [parser.parse({**copy.deepcopy(data), "target": {"canary": number == 0}}) for number in range(50)]
    assert parsed == {MINIMAL["name"]: 1, "other": 1}
    assert all(fleet.services == fleets[0].services for fleet in fleets)
    assert [fleet.target.canary for fleet in fleets].count(True) == 1, "the rest of the data is each host's own"


def test_a_host_whose_override_differs_gets_a_service_of_its_own(parsed: Counter[str]) -> None:
    parser = FleetParser()
    data = {"services": [MINIMAL], "service_overrides": {MINIMAL["name"]: {"keep_releases": 9}}}
    assert parser.parse({"services": [MINIMAL]}).services[MINIMAL["name"]].keep_releases == 5
    assert parser.parse(data).services[MINIMAL["name"]].keep_releases == 9
    assert parsed == {MINIMAL["name"]: 2}


@pytest.mark.parametrize("wrong", [True, "9", 9.5])
def test_a_value_that_python_or_json_takes_for_an_equal_one_is_still_refused(wrong: object) -> None:
    parser = FleetParser()
    parser.parse({"services": [{**MINIMAL, "keep_releases": 9}]})
    with pytest.raises(DataError, match=r"keep_releases: should be an integer"):
        parser.parse({"services": [{**MINIMAL, "keep_releases": wrong}]})


def test_the_keys_of_a_host_are_the_fields_of_its_model() -> None:
    parts: dict[str, Any] = {"builder": {}, "target": {}, "rollout": {}, "trust": {}, "freeze": [], "approval": {}}
    fleet = parse_fleet({"services": [MINIMAL], "environment": "staging", **parts})
    assert fleet.environment == "staging" and fleet.approval is not None
    assert set(KEYS) - set(type(fleet).model_fields) == {"service_overrides"}
