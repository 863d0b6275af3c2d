"""Generated code: what git tells of it, the overlay it is compiled as, and what a build of several binaries is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.state import BuilderState
from gofallback.gobuild import generated, plan
from gofallback.gobuild.build_failure import classify
from gofallback.gobuild.generated import Changes, GeneratedError, first_unrestored, overlay, read_changes
from gofallback.model.builder import Builder
from gofallback.operations.build import batches
from gofallback.operations.job import Job
from gofallback.provenance import statement
from gofallback.provenance.statement import Materials
from tests.unit.gobuild.test_plan import service, source, spec

STATUS = ["warning: CRLF", "@changed", "A\tinternal/zz.go", "M\tpage.txt", "D\told.go", "T\tlink", "@end", ""]


def test_changes_that_git_lists_are_read_and_shown() -> None:
    changes = read_changes(STATUS)
    assert changes == Changes(("internal/zz.go", "page.txt", "link"), ("old.go",))
    assert changes.line() == "internal/zz.go, page.txt, link and 1 more"
    nothing = read_changes(["@changed", "@end"])
    assert not nothing and nothing.line() == "nothing that is not in the commit"


def test_an_answer_that_is_cut_short_or_quoted_is_refused() -> None:
    with pytest.raises(GeneratedError, match="git did not list what changed"):
        read_changes(STATUS[:-2])
    with pytest.raises(GeneratedError, match="whose name is not plain ASCII"):
        read_changes(["@changed", 'A\t"\\303\\244.go"', "@end"])


def test_a_tree_that_git_cannot_restore_is_an_error() -> None:
    assert first_unrestored(["@clean"]) == ""
    assert first_unrestored([" M third/dep", "@clean"]) == " M third/dep"
    assert first_unrestored(["!! ignored/", "@clean"]) == "!! ignored/"
    with pytest.raises(GeneratedError, match="cannot put the tree back"):
        first_unrestored([" M third/dep"])


def test_the_overlay_names_what_go_compiles_in_place_of_each_file() -> None:
    made = json.loads(overlay({"C:\\w\\a.go": "C:\\tmp\\files\\a.go", "C:\\w\\b.go": None}))
    assert made == {"Replace": {"C:\\w\\a.go": "C:\\tmp\\files\\a.go", "C:\\w\\b.go": ""}}


def test_what_is_generated_is_part_of_the_key_and_nothing_generated_is_not() -> None:
    plain, every = spec(), spec(generate=True)
    assert every.generate == ("./...",) and every.key != plain.key
    assert spec(generate=False).key == spec(generate=[]).key == plain.key
    assert spec(generate=["./internal/a"]).key != every.key
    assert generated.folder_name(every) != generated.folder_name(spec(generate=["./internal/a"]))


def test_the_provenance_says_that_code_was_generated() -> None:
    assert statement.external_parameters(spec(generate=True), Materials())["generate"] == ["./..."]
    assert "generate" not in statement.external_parameters(spec(), Materials())


def test_the_commands_get_the_overlay_and_their_share_of_the_cores() -> None:
    built = spec(generate=True, tags=["x"])
    assert plan.generate_argv(built, "go") == ["go", "generate", "-tags=x", "./..."]
    argv = plan.build_argv(built, "go", "out", overlay="/tmp/o.json", parallel=2)
    assert {"-overlay=/tmp/o.json", "-p=2"} <= set(argv)
    assert plan.build_argv(built, "go", "out") == [one for one in argv if not one.startswith(("-overlay", "-p="))]
    assert "-overlay=/o" in plan.vet_argv(built, "go", overlay="/o")
    assert "-overlay=/o" in plan.tests_argv(built, "go", overlay="/o")


@pytest.mark.parametrize("where", ["%PATH%", "$PATH"])
def test_a_missing_generator_is_named_with_a_remedy(where: str) -> None:
    output = f'internal\\page\\page.go:3: running "stringer": exec: "stringer": executable file not found in {where}'
    failure = classify(output, 1, False, step="generate")
    assert (failure.kind, failure.title) == ("generate", "go generate")
    assert failure.cause == "the generator stringer is not on the builder (internal/page/page.go:3)"
    assert "go run <package>" in failure.remedy


def test_a_failed_generator_is_shown_with_its_last_line() -> None:
    output = 'gen: codes.csv: no such line\nexit status 1\ninternal/codes/codes.go:6: running "go": exit status 1'
    failure = classify(output, 1, False, step="generate")
    assert failure.cause == "internal/codes/codes.go:6: go: exit status 1: gen: codes.csv: no such line"
    broken = classify("internal/gen/main.go:9:2: undefined: x\n" + output.splitlines()[-1], 1, False, step="generate")
    assert (broken.kind, broken.cause) == ("compile", "internal/gen/main.go:9:2: undefined: x")


def test_every_binary_is_built_for_every_platform_with_what_differs() -> None:
    several = service(
        package="./cmd/hello",
        platforms=["windows/amd64"],
        version_variable="main.version",
        stamp={"main.role": "server"},
        tags=["a"],
        binaries={
            "worker": {"package": "cmd/worker"},
            "admin": {"package": "cmd/admin", "tags": [], "stamp": {}, "strip": False},
        },
    )
    made = plan.specs(several, source(), "1.26.6", ["linux/amd64"])
    assert [(one.platform, one.binary) for one in made] == [
        (platform, binary) for platform in ("linux/amd64", "windows/amd64") for binary in ("hello", "admin", "worker")
    ]
    hello, admin, worker = made[:3]
    assert (hello.what, admin.what) == ("hello", "hello admin")
    assert (worker.package, worker.tags, dict(worker.stamp)["main.role"]) == ("./cmd/worker", ("a",), "server")
    assert (admin.tags, admin.strip, [name for name, _ in admin.stamp]) == ((), False, ["main.version"])
    alone = service(package="./cmd/hello", version_variable="main.version", stamp={"main.role": "server"}, tags=["a"])
    assert plan.specs(alone, source(), "1.26.6", ["linux/amd64"])[0].key == hello.key
    assert [[one.binary for one in batch] for batch in batches(made)] == [
        ["hello", "hello"],
        ["admin", "worker", "admin", "worker"],
    ]
    assert batches(made[:1]) == [made[:1]]


@pytest.mark.parametrize(
    ("output", "setting", "at_once"), [("8", None, 4), ("2", None, 2), ("", None, 1), ("x", None, 1), ("2", 6, 6)]
)
def test_as_many_at_once_as_the_builder_has_cores(output: str, setting: int | None, at_once: int) -> None:
    cores = BuilderState("C:\\gofallback", environment={"NUMBER_OF_PROCESSORS": output}).cores
    job = Job((spec(),), Builder(parallel_platforms=setting), "C:\\go", "C:\\git", Path("records"), cores=cores)
    assert job.at_once == at_once


def job(*, fresh: bool = False, run: str = "one") -> Job:
    return Job((spec(),), Builder(), "C:\\go", "C:\\git\\cmd\\git.exe", Path(run), fresh=fresh)


def test_what_two_runs_build_to_compare_is_made_in_two_folders_and_what_they_share_in_one() -> None:
    folders = [job(fresh=True, run=run).temporary(spec()) for run in ("one", "two")]
    shared = [job(run=run).temporary(spec()) for run in ("one", "two")]
    assert len({*folders, *shared}) == 3 and shared[0] == shared[1]
    detached = job(fresh=True).detached_job(spec(), "build")
    assert detached is not None and detached.product.startswith(folders[0])


def further(main_tags: list[str], tags: list[str] | None, *, generate: bool = True) -> BuildSpec:
    several = service(tags=main_tags, generate=generate, binaries={"admin": {"package": "./cmd/admin", "tags": tags}})
    return plan.specs(several, source(), "1.26.6", ["linux/amd64"])[1]


def test_generators_see_the_tags_of_the_main_binary_whichever_is_missing() -> None:
    admin, main = further(["b", "a"], ["debug"]), spec(tags=["a", "b"], generate=True)
    assert plan.generate_argv(admin, "go")[2] == "-tags=a,b"
    assert generated.folder_name(plan.generator(admin)) == generated.folder_name(plan.generator(main))
    assert "-tags=debug" in plan.build_argv(admin, "go", "out")


def test_code_generated_under_other_tags_is_another_product() -> None:
    every = [further(main, own) for main in ([], ["x"], ["y"]) for own in ([], ["x"], ["y"])]
    assert len({one.key for one in every}) == len(every)
    assert statement.external_parameters(further(["x"], []), Materials())["generator_tags"] == ["x"]


def test_tags_of_the_main_binary_count_only_where_code_is_generated() -> None:
    assert further(["x"], [], generate=False).key == further([], [], generate=False).key
    assert further(["x"], None).generator_tags is None, "keys of what was built before stay"
