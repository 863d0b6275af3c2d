"""The person who requests a run: their own approvals do not count. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gofallback.approval.digest import ApprovalError
from gofallback.approval.signers import Signer, names_of


@dataclass(frozen=True)
class Requester:
    """The person who requests a run."""

    principals: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    """Fingerprints of the requester's keys: an approval by one of them is the requester's own, whatever its name."""
    how: str = "nobody in allowed_signers"
    """How the requester was identified."""

    def is_own(self, principal: str, key: str) -> bool:
        """Whether an approval is the requester's own."""
        return principal in self.principals or key in self.keys

    def __str__(self) -> str:
        return f"{', '.join(self.principals)} ({self.how})" if self.principals else self.how


def find_requester(
    signers: Sequence[Signer], claimed: str | None, keys: Collection[str], users: Collection[str]
) -> Requester:
    """Identify the requester of this run.

    A claimed name adds to the names that the keys have: nobody can approve their own run under another name.

    Args:
        signers: of allowed_signers.
        claimed: ``--data requester=``.
        keys: fingerprints of the keys that this person can use.
        users: names in the operating system; they count when neither claim nor key names a principal.

    Raises:
        ApprovalError: ``claimed`` is no principal of allowed_signers.
    """
    known = sorted({name for signer in signers for name in signer.names})
    by_key = names_of(signers, keys)
    if claimed is not None:
        if claimed not in known:
            near = difflib.get_close_matches(claimed, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ApprovalError(
                f"--data requester={claimed}: no such principal in allowed_signers; {hint}it has: {', '.join(known)}"
            )
        named = tuple(sorted({claimed, *by_key}))
        return Requester(named, frozenset(keys), "named by --data requester" + (", and by key" if by_key else ""))
    if by_key:
        return Requester(by_key, frozenset(keys), "has the SSH key")
    same = tuple(name for name in known if any(user in (name, name.partition("@")[0]) for user in users))
    return Requester(same, frozenset(keys), "has that user name") if same else Requester((), frozenset(keys))
