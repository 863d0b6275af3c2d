"""Everything that we change about pyinfra 3.10, behind one door; pyinfra's documented API is used freely elsewhere.

Each module says what pyinfra does (with the upstream file), why that is changed, and how. tests/unit/pyinfra_patches
pins the patched upstream code: a pyinfra version that changes it fails the test, and the patch is reviewed.
May import: ground and `rollout.phases`. The next patch: a module here, a call in `deploys/run/setup.py`, a pin.
"""
