"""What runs in production, as something that can be built again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gofallback.controller.options import Options
from gofallback.controller.store import Stored, manifest_text
from gofallback.deploys import _known
from gofallback.deploys._site import RefusedError, Site
from gofallback.model import DataError
from gofallback.release.state import ReleaseFound, ServiceState
from tests.unit.attested import SPEC, artifact, manifest
from tests.unit.sites import site

RELEASE = "v1.1.0-0123abcd"


def told(content: bytes | None, *, current: str | None = RELEASE, sha256: str = "") -> Any:
    """A target's state: of its service only what is live."""
    state = ServiceState(
        "hello",
        "/opt/hello",
        current=current,
        releases={RELEASE: ReleaseFound(RELEASE, manifest=content)},
        hashes={"bin/hello": sha256},
    )
    return SimpleNamespace(services={"hello": state}, platform="linux/amd64")


def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str = "faithful", **states: Any) -> Site:
    here = site(tmp_path, *states, builder="w1", command=command)
    monkeypatch.setattr(_known, "state_of", lambda _, host: states[host.name])
    return here


def of_release(**more: Any) -> bytes:
    """manifest.json of a release folder, which says more than the binary's own."""
    return json.dumps(
        {**json.loads(manifest_text(manifest())), "release": RELEASE, "agent_sha256": "a" * 64, **more}
    ).encode()


def test_each_target_names_what_it_runs_and_each_build_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = production(tmp_path, monkeypatch, t1=told(of_release()), t2=told(of_release()))
    assert [(one.host.name, one.path) for one in _known.live(here)] == [
        ("t1", f"/opt/hello/releases/{RELEASE}/bin/hello"),
        ("t2", f"/opt/hello/releases/{RELEASE}/bin/hello"),
    ]
    assert _known.specs(here) == [SPEC] and _known.go_versions(here) == ["1.27.0"]
    _known.refuse_nothing(here)


def test_a_release_without_manifest_is_looked_up_in_the_store_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Stored(artifact(tmp_path / "artifact", tmp_path / "keys") / "hello", manifest())
    here = production(tmp_path, monkeypatch, t1=told(b"not json", sha256=stored.manifest.sha256))
    here.run.store.add(stored.manifest, stored.path)
    assert _known.specs(here) == [SPEC]
    other = production(tmp_path, monkeypatch, t1=told(None, sha256="b" * 64))
    assert _known.specs(other) == []
    assert other.run.notes == [
        f"t1: hello {RELEASE} has no manifest of ours, on the target or in the store; left out of the comparison"
    ]


def test_without_anything_to_compare_with_the_builder_is_not_called_faithful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = production(tmp_path, monkeypatch, t1=told(None, current=None))
    with pytest.raises(RefusedError, match=r"no target runs a release of hello .*nothing to compare the builder with"):
        _known.refuse_nothing(here)
    nobody_asked = production(tmp_path, monkeypatch, command="fallback", t1=told(of_release()))
    _known.refuse_nothing(nobody_asked)
    assert _known.live(nobody_asked) == []


def test_a_program_that_others_brought_is_only_for_the_comparison() -> None:
    Options(binary="/usr/local/bin/hello").check("faithful")
    Options(binary="/usr/local/bin/hello", faithful=True).check("fallback")
    with pytest.raises(DataError, match="is what --data faithful=true compares with"):
        Options(binary="/usr/local/bin/hello").check("fallback")
    with pytest.raises(DataError, match=r"deploys/rollout\.py does not use it"):
        Options(binary="/usr/local/bin/hello").check("rollout")
