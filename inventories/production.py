"""A production inventory to copy: it loads as it is, and names hosts that exist nowhere.

    pyinfra inventories/production.py debug-inventory          # what every host's data is in the end
    pyinfra --dry --diff inventories/production.py deploys/fallback.py
    pyinfra inventories/production.py deploys/fallback.py

WHO stands here. WHAT (services, toolchains, unit settings) stands in group_data/; data in this file wins over it
for the same key, and `service_overrides` changes single values of a service for this environment.
"""

# Standby Windows hosts that can build; the first one that answers and is healthy does. `docs/windows-host.md` prepares one.
builders = (
    [
        ("@winssh/win-build-1", {"ssh_hostname": "win-build-1.example.com"}),
        ("@winssh/win-build-2", {"ssh_hostname": "win-build-2.example.com"}),
    ],
    {
        "ssh_user": "builder",
        # A short path on a disk with 5 GB free: Go's module cache makes long names.
        "builder": {"root": "C:\\gofallback", "minimum_free_mb": 5000},
    },
)

# Linux hosts that run the services.
targets = (
    [
        # A canary gets a release first; the others follow only when it is healthy.
        ("@linssh/app-1", {"ssh_hostname": "app-1.example.com", "target": {"canary": True}}),
        ("@linssh/app-2", {"ssh_hostname": "app-2.example.com"}),
        ("@linssh/app-3", {"ssh_hostname": "app-3.example.com"}),
    ],
    {
        # Needs passwordless sudo; with "ssh_user": "root" set "target": {"sudo": False}.
        "ssh_user": "deploy",
    },
)

# Data of every host in this inventory.
production = (
    [*(name for name, _ in builders[0]), *(name for name, _ in targets[0])],
    {
        "environment": "production",
        # Never accept an unknown host key by itself: put the keys into ~/.ssh/known_hosts first (ssh-keyscan, then compare).
        "ssh_strict_host_key_checking": "yes",
        "service_overrides": {
            "hello": {
                "source": {"repository": "git@git.example.com:team/hello.git", "ref": "v1.1.0"},
                "unit": {"memory_max": "512M"},
            },
        },
        "rollout": {"revert": "all"},
    },
)
