"""The twin: a second builder that builds the same, so that what is shipped is not one machine's word.

Who it is, is decided before anything is asked; whether it is needed, once it is known what has to be built.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.host import Host

from gofallback.deploys.run.context import RefusedError, Site, members

#: Deploys that build or ship what a second builder may have to confirm.
COMMANDS = frozenset({"fallback", "rollout", "drill"})


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    required: bool = False
    """Without a twin's word nothing is shipped."""
    name: str | None = None
    """Of the builder that shall be it."""
    why: str = ""
    """Who asks, for messages."""

    def agreed(self, first: str, second: str | None) -> bool:
        """Whether the word of a second builder about the bytes of the first is the one that was asked for."""
        return second is not None and (self.name is None or self.name in (first, second))


def wish(here: Site) -> Wish:
    """What ``--data twin`` asks for, else what ``trust.twin`` of the targets does; the strictest of them."""
    asked = here.run.options.twin
    if asked is True:
        return Wish(required=True, why="--data twin=true")
    if isinstance(asked, str):
        return Wish(required=True, name=asked, why=f"--data twin={asked}")
    data = _of_data(here)
    return Wish() if asked is False else data


def _of_data(here: Site) -> Wish:
    fleets, names = [here.fleet(host) for host in here.judges], _named(here)
    required = any(fleet.trust.twin == "required" for fleet in fleets)
    if not required and not names:
        return Wish()
    return Wish(required=required, name=names[0] if names else None, why="trust.twin")


def _named(here: Site) -> list[str]:
    """The builders that group data names as the twin."""
    return sorted({name for host in here.judges if (name := here.fleet(host).trust.twin_name)})


def askers(here: Site) -> list[Host]:
    """The hosts that ask for a second builder's word: each has to trust the key that signed it."""
    asking = [host for host in here.judges if here.fleet(host).trust.twin != "off"]
    return asking if asking and here.run.options.twin is None else here.judges


def demanded(here: Site) -> bool:
    """Whether nothing is shipped without a second builder's word."""
    return here.run.command in COMMANDS and (wish(here).required or bool(here.run.twins))


def choose(here: Site) -> None:
    """Set the run's twin, if one is wanted and there is one.

    Raises:
        RefusedError: the builder that is named does not exist, targets name several, or a rule is set aside without a
            reason.
    """
    _set_aside(here)
    if here.run.options.twin is None and len(_named(here)) > 1:
        raise RefusedError(
            f"trust.twin: targets of this run name {' and '.join(_named(here))}; one build is for all of them: "
            "name one, or say which with --data twin=..."
        )
    wanted = wish(here)
    known = [host.name for host in members(here.state, "builders")]
    if wanted.name is not None and wanted.name not in known:
        raise RefusedError(
            f"{wanted.why}: no builder is called {wanted.name}; the group builders has: {', '.join(known) or 'nobody'}"
        )
    if here.run.builder is None or not (wanted.required or wanted.name):
        return
    others = [host for host in here.builders if host.name != here.run.builder]
    if wanted.name == here.run.builder:  # the first one is away, and its twin builds
        fitting = others if wanted.required else []
    else:
        fitting = [host for host in others if wanted.name in (None, host.name)]
    if fitting:
        here.run.twins = (_most_unlike(here, fitting).name,)
    elif not wanted.required:
        why = "it is the builder" if wanted.name == here.run.builder else "it is not there"
        here.run.note(f"{wanted.why}: {wanted.name} cannot confirm what {here.run.builder} builds: {why}")


def _most_unlike(here: Site, others: list[Host]) -> Host:
    """Of another system, if there is one: the less two builders share, the more their agreement says."""
    assert here.builder is not None
    own = here.fleet(here.builder).builder
    return next((host for host in others if here.fleet(host).builder.os != own.os), others[0])


def _set_aside(here: Site) -> None:
    """``--data twin=false`` against group data that requires one is an exception: it needs a reason and is told."""
    options = here.run.options
    if options.twin is not False or not _of_data(here).required:
        return
    if not options.reason:
        raise RefusedError(
            "--data twin=false: trust.twin is required for these targets; setting it aside needs --data reason='why' "
            "(kept in the journal and the report); nothing was changed"
        )
    here.run.overrides.append({"kind": "twin", "what": "trust.twin: required", "why": options.reason})
