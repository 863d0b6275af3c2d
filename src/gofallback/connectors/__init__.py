"""pyinfra's connectors `@linssh` (targets, Linux builders) and `@winssh` (Windows builders): SSH.

They run commands and carry files; they know nothing of builds and releases. Imports: paramiko, pyinfra, `windows`
(quoting), `errors`. The way down: `linssh`/`winssh` (command lines, files) > `ssh` (a line, its output) > `connection`
(connect, reconnect) > `channel` (the loop of one command) > `transport` (socket, keepalive). What a host may fail with
is worded in `failures`.
"""
