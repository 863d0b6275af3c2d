"""The twin: a second builder that builds the same, so that what is shipped is not one machine's word.

Who it is, is decided before anything is asked; whether it is needed, once it is known what has to be built.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.host import Host

from gofallback.deploys.run.context import RunContext, members
from gofallback.errors import RefusedError

#: Deploys that build or ship what a second builder may have to confirm.
COMMANDS = frozenset({"fallback", "rollout", "drill"})


@dataclass(frozen=True)
class TwinPolicy:
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


def twin_policy(ctx: RunContext) -> TwinPolicy:
    """What ``--data twin`` asks for, else what ``trust.twin`` of the targets does; the strictest of them."""
    asked = ctx.run.options.twin
    if asked is True:
        return TwinPolicy(required=True, why="--data twin=true")
    if isinstance(asked, str):
        return TwinPolicy(required=True, name=asked, why=f"--data twin={asked}")
    data = _policy_of_data(ctx)
    return TwinPolicy() if asked is False else data


def _policy_of_data(ctx: RunContext) -> TwinPolicy:
    fleets, names = [ctx.fleet(host) for host in ctx.judges], _named(ctx)
    required = any(fleet.trust.twin == "required" for fleet in fleets)
    if not required and not names:
        return TwinPolicy()
    return TwinPolicy(required=required, name=names[0] if names else None, why="trust.twin")


def _named(ctx: RunContext) -> list[str]:
    """The builders that group data names as the twin."""
    return sorted({name for host in ctx.judges if (name := ctx.fleet(host).trust.twin_name)})


def hosts_requiring_twin(ctx: RunContext) -> list[Host]:
    """The hosts that ask for a second builder's word: each has to trust the key that signed it."""
    asking = [host for host in ctx.judges if ctx.fleet(host).trust.twin != "off"]
    return asking if asking and ctx.run.options.twin is None else ctx.judges


def twin_required(ctx: RunContext) -> bool:
    """Whether nothing is shipped without a second builder's word."""
    return ctx.run.command in COMMANDS and (twin_policy(ctx).required or bool(ctx.run.twins))


def select_twin(ctx: RunContext) -> None:
    """Set the run's twin, if one is wanted and there is one.

    Raises:
        RefusedError: the builder that is named does not exist, targets name several, or a rule is set aside without a
            reason.
    """
    _record_override(ctx)
    if ctx.run.options.twin is None and len(_named(ctx)) > 1:
        raise RefusedError(
            f"trust.twin: targets of this run name {' and '.join(_named(ctx))}; one build is for all of them: "
            "name one, or say which with --data twin=..."
        )
    wanted = twin_policy(ctx)
    known = [host.name for host in members(ctx.state, "builders")]
    if wanted.name is not None and wanted.name not in known:
        raise RefusedError(
            f"{wanted.why}: no builder is called {wanted.name}; the group builders has: {', '.join(known) or 'nobody'}"
        )
    if ctx.run.builder is None or not (wanted.required or wanted.name):
        return
    others = [host for host in ctx.builders if host.name != ctx.run.builder]
    if wanted.name == ctx.run.builder:  # the first one is away, and its twin builds
        fitting = others if wanted.required else []
    else:
        fitting = [host for host in others if wanted.name in (None, host.name)]
    if fitting:
        ctx.run.twins = (_most_unlike(ctx, fitting).name,)
    elif not wanted.required:
        why = "it is the builder" if wanted.name == ctx.run.builder else "it is not there"
        ctx.run.note(f"{wanted.why}: {wanted.name} cannot confirm what {ctx.run.builder} builds: {why}")


def _most_unlike(ctx: RunContext, others: list[Host]) -> Host:
    """Of another system, if there is one: the less two builders share, the more their agreement says."""
    assert ctx.builder is not None
    own = ctx.fleet(ctx.builder).builder
    return next((host for host in others if ctx.fleet(host).builder.os != own.os), others[0])


def _record_override(ctx: RunContext) -> None:
    """``--data twin=false`` against group data that requires one is an exception: it needs a reason and is told."""
    options = ctx.run.options
    if options.twin is not False or not _policy_of_data(ctx).required:
        return
    if not options.reason:
        raise RefusedError(
            "--data twin=false: trust.twin is required for these targets; setting it aside needs --data reason='why' "
            "(kept in the journal and the report); nothing was changed"
        )
    ctx.run.overrides.append({"kind": "twin", "what": "trust.twin: required", "why": options.reason})
