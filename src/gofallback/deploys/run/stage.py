"""The decorator of every stage: passes it the run's context, and turns our errors into pyinfra's one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host

from gofallback.deploys.run.context import RunContext, current_host
from gofallback.deploys.run.setup import run_context
from gofallback.errors import GofallbackError
from gofallback.pyinfra_patches.refusal import refusal

StageBody = Callable[[RunContext, Host], None]


def stage(name: str, group: str | None = None) -> Callable[[StageBody], Callable[[], None]]:
    """Make a stage of a function.

    Args:
        name: prefix of the stage's operations, and name of its bar in the timeline.
        group: hosts outside this inventory group skip the stage.
    """

    def decorate(body: StageBody) -> Callable[[], None]:
        @wraps(body)
        def inner() -> None:
            host = current_host()
            if group is not None and group not in host.groups:
                return
            ctx = run_context()
            try:
                body(ctx, host)
            except GofallbackError as error:
                ctx.run.refused = ctx.run.refused or str(error)
                raise refusal(DeployError, str(error)) from None

        return cast("Callable[[], None]", deploy(name)(cast(Any, inner)))

    return decorate
