"""An embedded lab: Linux targets and Windows build hosts on one machine, as real as one machine allows.

It stands in for hosts only. Nothing of the product knows that it is in a lab.

    with Lab.up("mine", targets=2, builders=0) as lab:
        lab.host("t1").cut()
"""

from lab.host import Host
from lab.lab import Lab
from lab.model import LabError

__all__ = ["Host", "Lab", "LabError"]
