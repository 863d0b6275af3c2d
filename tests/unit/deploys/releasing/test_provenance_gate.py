"""What may be sent to a target: every way in which provenance fails, and what the policy does then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gofallback.artifact.manifest import Manifest
from gofallback.controller.store import Stored, manifest_text
from gofallback.deploys.releasing import provenance_gate
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.errors import RefusedError
from gofallback.model import DataError, Fleet, parse_fleet
from gofallback.model.trust import Trust
from gofallback.provenance import ProvenanceError
from gofallback.provenance.keys import PUBLIC, controller_key
from gofallback.provenance.policy import keys_trusted_by, provenance_problem
from tests.unit.attested import PROGRAM, SPEC, artifact, manifest, sum_again
from tests.unit.binaries import ElfMaker, build_info, module_text
from tests.unit.contexts import run_context
from tests.unit.services import MINIMAL

OTHER = ElfMaker(info=build_info(module_text(extra="dep\texample.com/evil\tv1.0.0\n"))).bytes()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A controller's keys."""
    controller_key(tmp_path / "home" / "keys")
    return tmp_path / "home" / "keys"


@pytest.fixture
def stored(tmp_path: Path, keys: Path) -> Stored:
    return Stored(artifact(tmp_path / "artifact", keys) / "hello", manifest())


def checked(stored: Stored, keys: Path, trust: Trust | None = None) -> str | None:
    """The reason, as a run gets it."""
    policy = trust or Trust()
    return provenance_problem(stored, policy, keys_trusted_by(policy, keys, keys))


def test_what_the_controller_signed_itself_may_be_sent(stored: Stored, keys: Path) -> None:
    assert checked(stored, keys) is None
    assert checked(stored, keys, Trust(keys=[(keys / PUBLIC).read_text()], builders=["w1"])) is None


def test_a_signature_by_a_key_that_is_unknown_counts_for_nothing(stored: Stored, keys: Path, tmp_path: Path) -> None:
    controller_key(tmp_path / "other")
    found = checked(stored, keys, Trust(keys=[(tmp_path / "other" / PUBLIC).read_text()]))
    assert found is not None and "was signed with the unknown key" in found and "trust.keys[0]" in found


def test_a_statement_about_other_bytes_proves_nothing(stored: Stored, keys: Path, tmp_path: Path) -> None:
    other = artifact(tmp_path / "other", keys, content=OTHER)
    for name in ("provenance.json", "sbom.json"):
        (stored.path.parent / name).write_bytes((other / name).read_bytes())
    sum_again(stored.path.parent)
    found = checked(stored, keys)
    assert found is not None and "provenance.json: is about another subject" in found


def test_a_binary_without_provenance_is_named_with_the_way_to_get_it(stored: Stored, keys: Path) -> None:
    (stored.path.parent / "provenance.json").unlink()
    sum_again(stored.path.parent)
    found = checked(stored, keys)
    assert found is not None and "provenance.json: missing" in found and "gofallback attest v1.1.0" in found


def test_a_binary_that_was_exchanged_together_with_its_manifest_is_found_out(stored: Stored, keys: Path) -> None:
    stored.path.write_bytes(OTHER)
    exchanged = manifest(OTHER)
    (stored.path.parent / "manifest.json").write_bytes(manifest_text(exchanged))
    sum_again(stored.path.parent)
    found = checked(Stored(stored.path, exchanged), keys)
    assert found is not None and "is about another subject" in found


def test_an_altered_statement_is_reported_as_such(stored: Stored, keys: Path) -> None:
    path = stored.path.parent / "provenance.json"
    sealed = json.loads(path.read_text())
    sealed["payload"] = sealed["payload"][:-8] + "AAAAAAA="
    path.write_text(json.dumps(sealed))
    sum_again(stored.path.parent)
    found = checked(stored, keys)
    assert found is not None and "was changed after it was signed with provenance.pub" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"commit": "d" * 40}, "commit"),
        ({"version": "v6.6.6"}, "version"),
    ],
)
def test_commit_and_version_have_to_be_those_of_the_manifest(
    stored: Stored, keys: Path, change: dict[str, str], message: str
) -> None:
    spec = SPEC.model_copy(update=change)
    claimed = manifest().model_copy(update={"spec": spec, "key": spec.key})
    (stored.path.parent / "manifest.json").write_bytes(manifest_text(claimed))
    sum_again(stored.path.parent)
    found = checked(Stored(stored.path, claimed), keys)
    assert found is not None and message in found


def test_a_builder_has_to_be_the_one_that_was_signed_and_one_that_may_build(stored: Stored, keys: Path) -> None:
    found = checked(stored, keys, Trust(builders=["w9"]))
    assert found is not None and "was built on w1; trust.builders allows w9" in found
    claimed = Manifest.model_validate({**manifest().model_dump(mode="python"), "builder": "w9"})
    (stored.path.parent / "manifest.json").write_bytes(manifest_text(claimed))
    sum_again(stored.path.parent)
    found = checked(Stored(stored.path, claimed), keys, Trust(builders=["w9"]))
    assert found is not None and "builder is 'urn:gofallback:builder:w1'" in found


def wants(stored: Stored | None) -> list[DesiredRelease]:
    """One release; of the files only the keys count here."""
    spec = stored.manifest.spec if stored else SPEC
    return [DesiredRelease(service=None, files=None, binary=spec, agent=spec)]  # type: ignore[arg-type]


def with_trust(trust: Trust) -> Fleet:
    return parse_fleet({"services": [MINIMAL], "trust": trust.model_dump()})


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without trusted keys."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def test_required_refuses_while_planning_and_warn_leaves_a_note(
    stored: Stored, keys: Path, tmp_path: Path, elsewhere: None
) -> None:
    (stored.path.parent / "provenance.json").write_text("{}")
    ctx = run_context(tmp_path / "home", "t1", builder="w1")
    ctx.run.artifacts[SPEC.key] = stored
    host = ctx.targets[0]
    with pytest.raises(RefusedError, match=r"provenance is required, so it is not sent; nothing was changed"):
        provenance_gate.refuse_unproven(ctx, host, wants(stored))
    ctx.run.fleets["t1"] = with_trust(Trust(provenance="warn"))
    provenance_gate.refuse_unproven(ctx, host, wants(stored))
    assert len(ctx.run.notes) == 1 and ctx.run.notes[0].startswith("shipped all the same")
    ctx.run.fleets["t1"], ctx.run.notes = with_trust(Trust(provenance="off")), []
    provenance_gate.refuse_unproven(ctx, host, wants(stored))
    assert ctx.run.notes == []


def test_what_is_changed_between_plan_and_upload_is_seen_at_the_upload(
    stored: Stored, keys: Path, tmp_path: Path, elsewhere: None
) -> None:
    ctx = run_context(tmp_path / "home", "t1", builder="w1")
    host = ctx.targets[0]
    assert provenance_gate.reject_reason(ctx, host, [stored]) is None
    stored.path.write_bytes(OTHER)
    found = provenance_gate.reject_reason(ctx, host, [stored])
    assert found is not None and "hello: has sha256" in found
    stored.path.write_bytes(PROGRAM)
    assert provenance_gate.reject_reason(ctx, host, [stored]) is None


def test_what_could_never_be_shipped_is_not_even_built(keys: Path, tmp_path: Path, elsewhere: None) -> None:
    ctx = run_context(tmp_path / "home", "t1", builder="w1")
    host = ctx.targets[0]
    provenance_gate.refuse_unproven(ctx, host, wants(None))
    controller_key(tmp_path / "other")
    ctx.run.fleets["t1"] = with_trust(Trust(keys=[(tmp_path / "other" / PUBLIC).read_text()]))
    with pytest.raises(RefusedError, match=r"signed with its own key .*which trust\.keys of t1 does not name"):
        provenance_gate.refuse_unproven(ctx, host, wants(None))
    ctx.run.fleets["t1"] = with_trust(Trust(builders=["w2"]))
    with pytest.raises(RefusedError, match=r"w1 would build, and trust\.builders allows w2"):
        provenance_gate.refuse_unproven(ctx, host, wants(None))


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ({"provenance": "maybe"}, "trust.provenance"),
        ({"keys": ["-----BEGIN PRIVATE KEY-----\nAAAA\n"]}, "a private one never belongs in group data"),
        ({"keys": ["ssh-ed25519 AAAA me@here"]}, "should be a public key in PEM"),
        ({"key": []}, "trust.key"),
        ({"twin": "required", "provenance": "off"}, "trust: twin: required has no effect with provenance: off"),
    ],
)
def test_group_data_that_makes_no_sense_is_refused_by_key(trust: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_fleet({"services": [MINIMAL], "trust": trust})


def test_text_that_is_base64_and_no_key_is_refused_with_its_place(keys: Path) -> None:
    with pytest.raises(ProvenanceError, match=r"trust\.keys\[0\] in group_data/ or the inventory: is no public key"):
        keys_trusted_by(Trust(keys=["QUFBQQ=="]), keys, keys)
