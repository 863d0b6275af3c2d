"""The rules of Windows' command line, code pages and paths. Pure.

`quoting` is the only module that knows how cmd.exe reads a line; `text` decodes what Windows prints and converts paths
for SFTP. Anything else that is special about Windows builders belongs to `builder.cmd`.
"""
