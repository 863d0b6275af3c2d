"""Approvals: signed statements by people that a release may go to an environment (docs/approvals.md).

`digest` names a release, `statement` is the signed text, `signers` and `keygen` judge signatures, `tally` counts them,
`sign` makes one. Imports ``model``, ``artifact`` and the ground; only `keygen` and `sign` start programs. A new reason
to reject an approval: one check in ``ApprovalPolicy._accepted``, with its line in docs/approvals.md.
"""
