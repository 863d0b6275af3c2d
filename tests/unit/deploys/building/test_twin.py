"""A second builder: who it is, what it builds, which attestation counts, and what is refused without one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gofallback.cli.main import main
from gofallback.controller.store import Stored
from gofallback.deploys.building import plan, twin
from gofallback.deploys.building.comparison import UnconfirmedError, attach_attestation, reconcile_stored
from gofallback.deploys.releasing import provenance_gate
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.errors import RefusedError
from gofallback.model import parse_fleet
from gofallback.provenance import TWIN, ProvenanceError
from gofallback.provenance.keys import PUBLIC, controller_key, read_public
from gofallback.provenance.twin import read
from tests.unit.attested import SPEC, artifact, manifest
from tests.unit.contexts import Named
from tests.unit.deploys.building.twins import attestation, fleet_of, standing
from tests.unit.services import MINIMAL


@pytest.mark.parametrize(
    ("of_data", "data", "expected"),
    [
        ("off", {}, ()),
        ("required", {}, ("w2",)),
        ("w3", {}, ("w3",)),
        ("off", {"twin": True}, ("w2",)),
        ("required", {"twin": "w3"}, ("w3",)),
        ("w2", {"twin": False}, ()),
    ],
)
def test_who_is_the_twin(tmp_path: Path, of_data: str, data: dict[str, Any], expected: tuple[str, ...]) -> None:
    ctx = standing(tmp_path, "w1", "w2", "w3", twin=of_data, options=Options(**data))
    twin.select_twin(ctx)
    assert ctx.run.twins == expected
    assert [ctx.builds(host) for host in ctx.builders] == [True, "w2" in expected, "w3" in expected]


def test_without_targets_the_data_of_the_builders_says_what_is_required(tmp_path: Path) -> None:
    ctx = standing(tmp_path, "w1", "w2", command="drill")
    ctx.targets, ctx.run.fleets["w1"] = [], fleet_of("required")
    twin.select_twin(ctx)
    assert ctx.run.twins == ("w2",)


def test_a_named_twin_that_is_away_is_a_note_and_one_that_does_not_exist_a_mistake(tmp_path: Path) -> None:
    ctx = standing(tmp_path, "w1", twin="w2", away=("w2",))
    twin.select_twin(ctx)
    assert ctx.run.twins == () and ctx.run.notes == ["trust.twin: w2 cannot confirm what w1 builds: it is not there"]
    alone = standing(tmp_path, "w2", "w1", twin="w2")
    twin.select_twin(alone)
    assert alone.run.twins == () and alone.run.notes == [
        "trust.twin: w2 cannot confirm what w2 builds: it is the builder"
    ]
    with pytest.raises(RefusedError, match="--data twin=w8: no builder is called w8; the group builders has: w1, w2"):
        twin.select_twin(standing(tmp_path, "w1", "w2", options=Options(twin="w8")))


def test_targets_that_name_different_twins_are_refused_until_an_option_names_one(tmp_path: Path) -> None:
    ctx = standing(tmp_path, "w1", "w2", "w3", twin="w2")
    ctx.targets.append(Named("t2"))  # type: ignore[arg-type]
    ctx.run.fleets["t2"] = fleet_of("w3")
    with pytest.raises(RefusedError, match=r"trust\.twin: targets of this run name w2 and w3"):
        twin.select_twin(ctx)
    ctx.run.options = Options(twin="w3")
    twin.select_twin(ctx)
    assert ctx.run.twins == ("w3",)


def test_setting_a_required_twin_aside_needs_a_reason_and_is_recorded(tmp_path: Path) -> None:
    ctx = standing(tmp_path, "w1", "w2", twin="required", options=Options(twin=False))
    with pytest.raises(RefusedError, match="setting it aside needs --data reason='why'"):
        twin.select_twin(ctx)
    ctx.run.options = Options(twin=False, reason="the other one burns")
    twin.select_twin(ctx)
    assert ctx.run.twins == ()
    assert ctx.run.overrides == [{"kind": "twin", "what": "trust.twin: required", "why": "the other one burns"}]


def planned(ctx: RunContext, monkeypatch: pytest.MonkeyPatch, stored: Stored | None) -> RunContext:
    """With one binary, in the store or not."""
    monkeypatch.setattr(plan, "all_specs", lambda _: [SPEC])
    ctx.once(plan._MISSING, lambda: [] if stored else [SPEC])
    if stored:
        ctx.run.artifacts[SPEC.key] = stored
    twin.select_twin(ctx)
    return ctx


def builds(ctx: RunContext) -> dict[str, int]:
    return {host.name: len(plan.to_build(ctx, host)) for host in ctx.builders}


def test_both_build_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Path) -> None:
    ctx = planned(standing(tmp_path, "w1", "w2", "w3", twin="required"), monkeypatch, None)
    assert builds(ctx) == {"w1": 1, "w2": 1, "w3": 0}
    assert builds(planned(standing(tmp_path, "w1", "w2"), monkeypatch, None)) == {"w1": 1, "w2": 0}


def test_a_stored_artifact_is_built_by_the_builder_that_did_not_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    ctx = planned(standing(tmp_path, "w1", "w2", twin="required"), monkeypatch, stored)
    assert builds(ctx) == {"w1": 0, "w2": 1}
    plan.require_second_builder(ctx)
    ctx = planned(standing(tmp_path, "w2", "w1", twin="required"), monkeypatch, stored)
    assert builds(ctx) == {"w2": 1, "w1": 0}
    ctx = planned(standing(tmp_path, "w2", twin="required", away=("w1",)), monkeypatch, stored)
    assert builds(ctx) == {"w2": 1}
    plan.require_second_builder(ctx)


def test_what_two_builders_have_built_is_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Stored, keys: Path
) -> None:
    ctx = standing(tmp_path, "w1", "w2", twin="required")
    attach_attestation(ctx, stored, attestation(keys))
    assert builds(planned(ctx, monkeypatch, stored)) == {"w1": 0, "w2": 0}
    assert provenance_gate.reject_reason(ctx, ctx.targets[0], [stored]) is None
    alone = planned(standing(tmp_path, "w1", twin="required", away=("w2",)), monkeypatch, stored)
    plan.require_second_builder(alone)
    named = planned(standing(tmp_path, "w1", "w3", twin="w3"), monkeypatch, stored)
    assert builds(named) == {"w1": 0, "w3": 1}


def test_without_a_second_builder_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    for ctx in (
        planned(standing(tmp_path, "w1", twin="required", away=("w2",)), monkeypatch, None),
        planned(standing(tmp_path, "w1", twin="required", away=("w2",)), monkeypatch, stored),
    ):
        with pytest.raises(
            RefusedError, match=r"no second builder is there \(w2 cannot be reached\).*nothing was changed"
        ):
            plan.require_second_builder(ctx)


def test_a_rollout_of_what_one_builder_alone_built_is_refused(tmp_path: Path, stored: Stored, keys: Path) -> None:
    ctx = standing(tmp_path, "w1", "w2", twin="required", command="rollout")
    ctx.run.builder = None
    found = provenance_gate.reject_reason(ctx, ctx.targets[0], [stored])
    assert (
        found is not None and "and only w1 is known to have built them; have both build it: deploys/drill.py" in found
    )
    attach_attestation(ctx, stored, attestation(keys))
    assert provenance_gate.reject_reason(ctx, ctx.targets[0], [stored]) is None


def test_a_rollout_without_the_attestation_of_a_named_twin_says_so(tmp_path: Path, stored: Stored, keys: Path) -> None:
    ctx = standing(tmp_path, "w1", "w2", twin="w2", command="rollout")
    ctx.run.builder = None
    assert provenance_gate.reject_reason(ctx, ctx.targets[0], [stored]) is None
    (note,) = ctx.run.notes
    assert note.startswith("shipped all the same, as trust.twin only names a builder: hello v1.1.0 linux/amd64")
    ctx.run.notes.clear()
    attach_attestation(ctx, stored, attestation(keys))
    assert provenance_gate.reject_reason(ctx, ctx.targets[0], [stored]) is None and ctx.run.notes == []


def keys_named(keys: Path) -> dict[str, Any]:
    return {"trust": {"twin": "required", "keys": [(keys / PUBLIC).read_text()]}}


def test_each_target_counts_only_the_keys_that_it_trusts_itself(
    tmp_path: Path, stored: Stored, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second target trusts another controller too, whose attestation does not count for the first target."""
    controller_key(tmp_path / "ci")
    ctx = standing(tmp_path, "w1", "w2", twin="required")
    both = [(folder / PUBLIC).read_text() for folder in (keys, tmp_path / "ci")]
    ctx.targets.append(Named("t2"))  # type: ignore[arg-type]
    ctx.run.fleets["t2"] = parse_fleet({"services": [MINIMAL], "trust": {"twin": "required", "keys": both}})
    attach_attestation(ctx, stored, attestation(tmp_path / "ci"))
    t1, t2 = ctx.targets
    assert builds(planned(ctx, monkeypatch, stored)) == {"w1": 0, "w2": 1}
    found = provenance_gate.reject_reason(ctx, t1, [stored])
    assert found is not None and "and twin.json beside it is not signed with a trusted key (keys of t1)" in found
    assert provenance_gate.reject_reason(ctx, t2, [stored]) is None
    attach_attestation(ctx, stored, attestation(keys))
    assert [provenance_gate.reject_reason(ctx, one, [stored]) for one in ctx.targets] == [None, None]


def test_an_attestation_that_the_target_would_not_trust_is_refused_while_planning(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The artifact came from CI, signed with CI's key, which is the only one that the target knows."""
    controller_key(tmp_path / "ci")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    foreign = Stored(artifact(tmp_path / "foreign", tmp_path / "ci") / "hello", manifest())
    ctx = planned(standing(tmp_path, "w1", "w2", twin="required"), monkeypatch, foreign)
    ctx.run.fleets["t1"] = parse_fleet({"services": [MINIMAL], **keys_named(tmp_path / "ci")})
    wants: list[Any] = [SimpleNamespace(programs=(SPEC,))]
    with pytest.raises(
        RefusedError, match=r"the attestation of the second builder is signed with its own key .*of t1 does not"
    ):
        provenance_gate.refuse_unproven(ctx, ctx.targets[0], wants)
    ctx.run.fleets["t1"] = parse_fleet({"services": [MINIMAL], **keys_named(keys)})
    provenance_gate.refuse_unproven(ctx, ctx.targets[0], wants)


@pytest.mark.parametrize("first", ["w1", "w2"])
def test_what_two_have_built_is_known_also_where_another_run_stored_it_first(
    tmp_path: Path, stored: Stored, keys: Path, first: str
) -> None:
    """That run had no second builder; `first` built what it stored."""
    ctx = standing(tmp_path, "w1", "w2", twin="required")
    second = manifest().model_copy(update={"builder": first, "built_at": "2026-11-22T02:59:00Z"})
    kept = ctx.run.store.add(second, stored.path)
    added = ctx.run.store.add(manifest(), stored.path, {TWIN: attestation(keys)})
    assert added == kept and not (kept.path.parent / TWIN).exists()
    reconcile_stored(ctx, ctx.builders[0], added, manifest(), attestation(keys))
    assert twin._missing_confirmation(ctx, added, ctx.targets[0]) is None
    other = Stored(stored.path, second.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(UnconfirmedError, match=f"another run stored it meanwhile, built by {first} with sha256 0000"):
        reconcile_stored(ctx, ctx.builders[0], other, manifest(), attestation(keys))


def test_the_attestation_of_a_twin_is_checked_like_any_other_provenance(
    stored: Stored, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = [read_public(keys / PUBLIC)]
    assert read(attestation(keys), stored.manifest, trusted) == "w2"
    controller_key(tmp_path / "other")
    for bad, why in (
        (attestation(tmp_path / "other"), "is not signed with a trusted key"),
        (attestation(keys, builder="w1"), "is of w1 itself, which built the artifact"),
        (attestation(keys, sha256="0" * 64), "is about other bytes"),
        (attestation(keys, spec=SPEC.model_copy(update={"commit": "d" * 40})), "key is '"),
        (b"{}", "is no DSSE envelope"),
    ):
        with pytest.raises(ProvenanceError, match=why):
            read(bad, stored.manifest, trusted)


def test_verify_names_the_second_builder_and_finds_a_false_attestation(
    stored: Stored, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, pub = str(stored.path.parent), str(keys / PUBLIC)
    attach_attestation(standing(tmp_path, "w1"), stored, attestation(keys))
    assert main(["verify", folder, "--key", pub]) == 0
    assert "reproduced: w2 built the same bytes" in capsys.readouterr().out
    (stored.path.parent / TWIN).write_bytes(attestation(keys, builder="w1"))
    assert main(["verify", folder, "--key", pub]) == 1
    shown = capsys.readouterr().out
    assert "twin.json: has sha256" in shown and "twin.json: is of w1 itself" in shown
