"""The lab's Windows host: real go.exe and git.exe under Wine 10, behind an SSH server that behaves as Win32-OpenSSH does."""
