"""A production inventory to copy. It loads as it is; its hosts do not exist.

    pyinfra inventories/production.py debug-inventory          # the final data of every host
    pyinfra --dry --diff inventories/production.py deploys/fallback.py
    pyinfra inventories/production.py deploys/fallback.py

WHO is here. WHAT (services, toolchains, unit settings) is in group_data/. If several places set a key, the last one in
this list wins and replaces the whole value: group_data/all.py; the groups `builders` and `targets` (first their file in
group_data/, then this file); the group `production` below; the host itself. `service_overrides` is different: it is
merged into the services, value by value.
"""

# Standby Windows hosts. The first one that answers builds. To prepare one: docs/windows-host.md
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
        # A canary gets a release first. The others follow only if it is healthy.
        ("@linssh/app-1", {"ssh_hostname": "app-1.example.com", "target": {"canary": True}}),
        ("@linssh/app-2", {"ssh_hostname": "app-2.example.com"}),
        ("@linssh/app-3", {"ssh_hostname": "app-3.example.com"}),
    ],
    {
        # Needs passwordless sudo; with "ssh_user": "root" set "target": {"sudo": False}.
        "ssh_user": "deploy",
    },
)

# The group with the name of this file: its data overrides that of the groups above, and group_data/.
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
        # Two people approve each release before it is rolled out here: docs/approvals.md
        # "approval": {"required": 2},
        # Two builders must make the same bytes: docs/twin-build.md
        # "trust": {"twin": "required"},
        # Nothing is rolled out at the weekend: docs/freeze.md
        # "freeze": [{"name": "weekend", "weekdays": ["fri"], "from": "16:00", "until": "mon 08:00"}],
    },
)
