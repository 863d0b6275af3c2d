"""The lab's Windows host: real go.exe and git.exe under Wine 10, behind an SSH server like Win32-OpenSSH.

`trees` makes the parts once, `host` is one host, `sshd` its server. lab/builders.py joins it to the rest of the lab.
"""
