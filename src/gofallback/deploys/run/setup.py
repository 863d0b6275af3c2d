"""Makes the context of a run: once per pyinfra state, in preflight."""

from __future__ import annotations

import re
import secrets
from weakref import WeakKeyDictionary

from gevent.lock import RLock
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_state

from gofallback.controller.paths import Home
from gofallback.deploys.run.commands import COMMANDS, Command, CommandName
from gofallback.deploys.run.context import RunContext, members
from gofallback.deploys.run.finish import install_exit_handlers
from gofallback.deploys.run.journal import open_journal
from gofallback.deploys.run.options import Options, parse_options
from gofallback.deploys.run.state import Run
from gofallback.deploys.run.timing import StageCallbacks, Timeline
from gofallback.errors import RefusedError
from gofallback.git import git_command
from gofallback.model import Fleet, FleetParser
from gofallback.model.fleet import KEYS
from gofallback.pyinfra_patches.failures import go_on_after_failures
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.pyinfra_patches.order import in_program_order
from gofallback.pyinfra_patches.speed import know_deploy_file
from gofallback.redact import hide, secrets_in
from gofallback.runid import base_of

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}(-\w+)?")
_EXPECTED = (
    "expected the id of a run, such as 20261122T031244Z-9f3a; deploys/status.py shows it where one is unfinished"
)


_CONTEXTS: WeakKeyDictionary[State, RunContext] = WeakKeyDictionary()
_MAKING = RLock()


def run_context(command: CommandName | None = None) -> RunContext:
    """The context of the current pyinfra state.

    Args:
        command: name of the deploy file; given by preflight, which makes the context.

    Raises:
        DataError: invalid group data or ``--data``.
    """
    state: State = ctx_state.get()
    with _MAKING:
        if state not in _CONTEXTS:
            if command is None:
                raise RefusedError("a deploy has to begin with preflight(...)")
            _CONTEXTS[state] = _make(state, COMMANDS[command])
        return _CONTEXTS[state]


def _group(state: State, name: str) -> list[Host]:
    return [host for host in members(state, name) if state.is_host_in_limit(host)]


def _make(state: State, command: Command) -> RunContext:
    for host in state.inventory:
        hide(secrets_in(host.data.dict()))
    options = parse_options(state.inventory.get_override_data(), frozenset(KEYS))
    hosts = {role: _group(state, role) for role in ("builders", "targets")}
    # The data of builders counts even where --limit leaves them out: it names the toolchain, part of an artifact's key.
    parser = FleetParser()
    fleets = {host.name: _fleet(host, parser) for host in (*members(state, "builders"), *hosts["targets"])}
    for fleet in fleets.values():
        git_command.withhold(
            name for service in fleet.services.values() for name in service.build.private.secret_variables
        )
    run = Run(command=command, home=Home.default(), options=options, fleets=fleets, id=_run_id(options))
    ctx = RunContext(run=run, state=state)
    for host in hosts["builders"]:
        _sort(host, state, ctx.builders, ctx.unreachable_builders)
    for host in hosts["targets"]:
        _sort(host, state, ctx.targets, ctx.unreachable_targets)
    _check_services(ctx, hosts["targets"])
    # Listeners of the run's events are added here. Each gets every event, after the journal (`Run.emit`).
    run.listeners.append(Timeline(run))
    state.add_callback_handler(StageCallbacks(run, lambda: open_journal(run)))
    in_program_order(state)
    know_deploy_file(state.current_deploy_filename)
    go_on_after_failures(state)

    install_exit_handlers(ctx, json_mode=_json_mode())
    return ctx


def _run_id(options: Options) -> str:
    """The id of a resumed or aborted run with a new suffix; empty: a new id.

    Raises:
        RefusedError: the option is no run id, or both are given.
    """
    if options.resume and options.abort:
        raise RefusedError("--data resume and --data abort: give only one; a run is finished, or taken back")
    earlier = options.resume or options.abort
    if not earlier:
        return ""
    if not _RUN_ID.fullmatch(earlier):
        raise RefusedError(f"--data {'resume' if options.resume else 'abort'}={earlier}: {_EXPECTED}")
    return f"{base_of(earlier)}-r{secrets.token_hex(2)}"


def _sort(host: Host, state: State, reachable: list[Host], unreachable: list[str]) -> None:
    if host in state.activated_hosts:
        reachable.append(host)
    else:
        unreachable.append(host.name)


def _fleet(host: Host, parser: FleetParser) -> Fleet:
    # The keys of others too: the parser finds a misspelt one among them. Host data also holds `--data` (service=hello).
    return parser.parse({key: value for key, value in host.data.dict().items() if key not in Options.model_fields})


def _check_services(ctx: RunContext, targets: list[Host]) -> None:
    known = sorted({name for host in targets for name in ctx.run.fleets[host.name].services})
    for name in ctx.run.options.service:
        if name not in known:
            raise RefusedError(f"--data service={name}: no such service; known: {', '.join(known) or 'none'}")


def _json_mode() -> bool:
    return bool(cli_parameters().get("json_output"))
