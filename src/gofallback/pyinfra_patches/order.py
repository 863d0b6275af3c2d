"""The order of operations: as in the deploy file, on all hosts together.

pyinfra 3.10 orders operations by a graph that only knows the order on each single host (pyinfra/api/state.py,
`State.get_op_order`). Builder and target have no operation in common, so a target's upload would be due before the
build is done: it is the target's second operation and the builder's tenth. Every operation already carries its place
in the deploy file (the line numbers of the call stack). Sorting by it gives the order of the file, and pyinfra's
executor waits for all hosts after each operation.
"""

from __future__ import annotations

from pyinfra.api.state import State


def in_program_order(state: State) -> None:
    """Make pyinfra execute the operations of this state in the order of the deploy file."""

    def get_op_order() -> list[str]:
        return sorted(state.op_meta, key=lambda op_hash: state.op_meta[op_hash].op_order)

    state.get_op_order = get_op_order  # type: ignore[method-assign]
