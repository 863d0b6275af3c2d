"""The lab's Windows host: real go.exe and git.exe under Wine 10, behind an SSH server like Win32-OpenSSH."""
