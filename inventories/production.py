"""A production inventory to copy: it loads as it is, and names hosts that exist nowhere.

    pyinfra inventories/production.py debug-inventory          # what every host's data is in the end
    pyinfra --dry --diff inventories/production.py deploys/fallback.py
    pyinfra inventories/production.py deploys/fallback.py

WHO stands here. WHAT (services, toolchains, unit settings) stands in group_data/. For the same key the value wins that
stands further down in this list, and it replaces the whole value: group_data/all.py, the groups `builders` and
`targets` (their file in group_data/ before what stands here), the group `production` below, the host itself.
`service_overrides` is merged into the services instead, value by value.
"""

# Standby Windows hosts that can build; the first one that answers does. docs/windows-host.md prepares one.
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

# The group that is named like this file: its data wins over that of the groups above, and over group_data/.
production = (
    [*(name for name, _ in builders[0]), *(name for name, _ in targets[0])],
    {
        "environment": "production",
        # Never accept an unknown host key: put the keys into ~/.ssh/known_hosts first (ssh-keyscan, then compare).
        "ssh_strict_host_key_checking": "yes",
        "service_overrides": {
            "hello": {
                "source": {"repository": "git@git.example.com:team/hello.git", "ref": "v1.1.0"},
                "unit": {"memory_max": "512M"},
            },
        },
        "rollout": {"revert": "all"},
        # Two people sign each release before it goes here: docs/approvals.md
        # "approval": {"required": 2},
        # Both builders have to make the same bytes: docs/twin-build.md
        # "trust": {"twin": "required"},
        # Nothing rolls out over the week end: docs/freeze.md
        # "freeze": [{"name": "weekend", "weekdays": ["fri"], "from": "16:00", "until": "mon 08:00"}],
    },
)
