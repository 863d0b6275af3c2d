"""The one error type of the Windows half of the lab."""

from lab.model import LabError


class WindowsLabError(LabError):
    """A step of the Windows lab failed; the text is one line: what, where, what was expected, what to do next."""
