"""The twin build: a second builder makes the same bytes, so that a release does not rest on one machine.

The second builder is chosen before anything is built. `building.plan` says what it has to build.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.host import Host

from gofallback.controller.store import Stored
from gofallback.deploys.run.context import Key, RunContext, members
from gofallback.errors import RefusedError
from gofallback.model.trust import Trust
from gofallback.provenance import TWIN, ProvenanceError
from gofallback.provenance import twin as attestation
from gofallback.provenance.keys import TrustedKey
from gofallback.provenance.policy import keys_trusted_by

_TRUSTED: Key[list[TrustedKey]] = Key("trusted keys")


@dataclass(frozen=True)
class TwinPolicy:
    """Whether a second builder has to confirm the bytes, and which builder."""

    required: bool = False
    """Nothing is shipped without the second builder's attestation."""
    name: str | None = None
    """Name of the required second builder; None: any."""
    source: str = ""
    """The option or key that set it, for messages."""

    def accepts(self, first: str, second: str | None) -> bool:
        """Whether the attestation of a second builder about the bytes of the first fulfils the policy."""
        return second is not None and (self.name is None or self.name in (first, second))


@dataclass(frozen=True)
class Confirmation:
    """Whether an artifact's bytes are confirmed, by the keys that one host trusts."""

    builder: str | None
    """The second builder that made the same bytes."""
    problem: str = ""
    """Why there is no second builder."""


def twin_policy(ctx: RunContext) -> TwinPolicy:
    """``--data twin``, else the strictest ``trust.twin`` of the targets."""
    option = ctx.run.options.twin
    if option is True:
        return TwinPolicy(required=True, source="--data twin=true")
    if isinstance(option, str):
        return TwinPolicy(required=True, name=option, source=f"--data twin={option}")
    data = _policy_of_data(ctx)
    return TwinPolicy() if option is False else data


def _policy_of_data(ctx: RunContext) -> TwinPolicy:
    names = _named(ctx)
    required = any(ctx.fleet(host).trust.twin == "required" for host in ctx.policy_hosts)
    if not required and not names:
        return TwinPolicy()
    return TwinPolicy(required=required, name=names[0] if names else None, source="trust.twin")


def _named(ctx: RunContext) -> list[str]:
    """The builders that group data names as the twin."""
    return sorted({name for host in ctx.policy_hosts if (name := ctx.fleet(host).trust.twin_name)})


def hosts_requiring_twin(ctx: RunContext) -> list[Host]:
    """The hosts that require a second builder's attestation: each has to trust the key that signed it."""
    own = [host for host in ctx.policy_hosts if ctx.fleet(host).trust.twin != "off"]
    return own if own and ctx.run.options.twin is None else ctx.policy_hosts


def twin_required(ctx: RunContext) -> bool:
    """Whether nothing is shipped without a second builder's attestation."""
    return ctx.run.command.twin and (twin_policy(ctx).required or bool(ctx.run.twins))


def select_twin(ctx: RunContext) -> None:
    """Set the run's twin, if one is required or named, and one is reachable.

    Raises:
        RefusedError: the named builder does not exist, targets name several, or a rule is set aside without a reason.
    """
    _record_override(ctx)
    names, policy = _named(ctx), twin_policy(ctx)
    if ctx.run.options.twin is None and len(names) > 1:
        raise RefusedError(
            f"trust.twin: targets of this run name {' and '.join(names)}; one build is for all of them: "
            "name one, or say which with --data twin=..."
        )
    known = [host.name for host in members(ctx.state, "builders")]
    if policy.name is not None and policy.name not in known:
        raise RefusedError(
            f"{policy.source}: no builder is called {policy.name}; the group builders has: {', '.join(known) or 'none'}"
        )
    if ctx.run.builder is None or not (policy.required or policy.name):
        return
    others = [host for host in ctx.builders if host.name != ctx.run.builder]
    if policy.name == ctx.run.builder:  # the usual builder is away, and its twin builds
        fitting = others if policy.required else []
    else:
        fitting = [host for host in others if policy.name in (None, host.name)]
    if fitting:
        ctx.run.twins = (_most_unlike(ctx, fitting).name,)
    elif not policy.required:
        reason = "it is the builder" if policy.name == ctx.run.builder else "it is not there"
        ctx.run.note(f"{policy.source}: {policy.name} cannot confirm what {ctx.run.builder} builds: {reason}")


def _most_unlike(ctx: RunContext, others: list[Host]) -> Host:
    """A builder with another system, if there is one: the less two builders share, the more equal bytes prove."""
    assert ctx.builder is not None
    own = ctx.fleet(ctx.builder).builder
    return next((host for host in others if ctx.fleet(host).builder.os != own.os), others[0])


def _record_override(ctx: RunContext) -> None:
    """``--data twin=false`` against group data that requires a twin needs a reason, and is audited."""
    options = ctx.run.options
    if options.twin is not False or not _policy_of_data(ctx).required:
        return
    if not options.reason:
        raise RefusedError(
            "--data twin=false: trust.twin is required for these targets; setting it aside needs --data reason='why' "
            "(kept in the journal and the report); nothing was changed"
        )
    ctx.run.overrides.append({"kind": "twin", "what": "trust.twin: required", "why": options.reason})


def trusted_keys(ctx: RunContext, trust: Trust) -> list[TrustedKey]:
    """The keys whose signatures this group data accepts. Read once a run.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    return ctx.once(_TRUSTED(*trust.keys), lambda: keys_trusted_by(trust, ctx.run.home.keys, ctx.project))


def _confirmation(ctx: RunContext, stored: Stored, host: Host) -> Confirmation:
    """The second builder that made the same bytes, by an attestation that a host trusts."""
    try:
        content = (stored.path.parent / TWIN).read_bytes()
        return Confirmation(attestation.read(content, stored.manifest, trusted_keys(ctx, ctx.fleet(host).trust)))
    except FileNotFoundError:
        return Confirmation(None, f"only {stored.manifest.builder} is known to have built them")
    except OSError as error:
        return Confirmation(None, f"{TWIN} beside it cannot be read ({error.strerror})")
    except ProvenanceError as error:
        return Confirmation(None, f"{TWIN} beside it {error} (keys of {host.name})")


def twin_confirms(ctx: RunContext, stored: Stored, host: Host | None = None) -> bool:
    """Whether an artifact has the attestation that the policy requires.

    Args:
        ctx: the run.
        stored: the artifact.
        host: a target; None: all of the run. For each only the keys count that it trusts itself. A target that requires
            no twin gets the artifacts that the others accept.
    """
    policy, requiring = twin_policy(ctx), hosts_requiring_twin(ctx)
    hosts = [host] if host in requiring else requiring
    return all(policy.accepts(stored.manifest.builder, _confirmation(ctx, stored, one).builder) for one in hosts if one)


def unconfirmed_reason(ctx: RunContext, host: Host, artifacts: Iterable[Stored]) -> str | None:
    """The reason an artifact lacks the second builder that a target requires, or None: also where one is only named."""
    required = twin_required(ctx)
    named = ctx.run.command.releases_from == "store" and twin_policy(ctx).name
    for one in artifacts if required or named else ():
        missing = _missing_confirmation(ctx, one, host)
        if missing is not None and required:
            return missing
        if missing is not None:
            ctx.run.note(f"shipped all the same, as trust.twin only names a builder: {missing}")
    return None


def _missing_confirmation(ctx: RunContext, stored: Stored, host: Host) -> str | None:
    """The reason an artifact lacks the attestation of a second builder for a target, or None."""
    if twin_confirms(ctx, stored, host):
        return None
    policy, spec, own = twin_policy(ctx), stored.manifest.spec, stored.manifest.builder
    required, reason = policy.name or "a second builder", ""
    for requiring in dict.fromkeys((host, *hosts_requiring_twin(ctx))):
        found = _confirmation(ctx, stored, requiring)
        if not policy.accepts(own, found.builder):
            reason = found.problem or f"only {own} and {found.builder} are known to have built them"
            break
    return (
        f"{spec.what} {spec.version} {spec.platform}: {policy.source or 'the twin'} requires the same bytes from "
        f"{required}, and {reason}; have both build it: deploys/drill.py --data ref={spec.version} --data twin=true"
    )


def confirmed_by_twin(ctx: RunContext, artifacts: Iterable[Stored]) -> list[Stored]:
    """The artifacts that have the second builder's attestation."""
    return [stored for stored in artifacts if twin_confirms(ctx, stored)]
