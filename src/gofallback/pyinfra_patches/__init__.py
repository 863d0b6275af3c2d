"""Everything that we change about pyinfra 3.10, behind one door; pyinfra's documented API is used freely elsewhere.

Each module says what pyinfra does (with the upstream file), why that is changed, and how. tests/unit/pyinfra_patches
pins the patched upstream code: a new pyinfra that changes there fails the test, and the patch is looked at again.
May import: ground and `rollout.phases`. The next patch: a module here, a call in `deploys/run/setup.py`, a pin.
"""
