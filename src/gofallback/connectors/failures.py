"""The failures of a connection, each as one clear line: what, where, what to do next. Pure."""

from __future__ import annotations

import errno
import socket

from paramiko import AuthenticationException, BadHostKeyException, SSHException
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra.api.exceptions import PyinfraError


def in_one_line(error: BaseException) -> str:
    """The message of an error without line breaks; its type where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def connect_failure(
    error: BaseException, *, host: str, port: int, user: str, key: str | None, known_hosts: str, timeout: float
) -> str:
    """Why connecting failed, as one line for the person at the screen.

    Arguments:
        host, port, user: where, and as whom.
        key: path of the private key, or None for agent and default keys.
        known_hosts: the file the host keys are in.
        timeout: seconds waited.
    """
    where = f"{host}:{port}"
    if isinstance(error, BadHostKeyException):
        return _wrong_host_key(error, where, host, port, known_hosts)
    if isinstance(error, AuthenticationException):
        with_key = f"the key {key}" if key else "the keys of the agent and of ~/.ssh"
        return (
            f"{where} does not let in user {user} with {with_key}: put the public key into the host's authorized_keys"
            r" (for a Windows administrator: C:\ProgramData\ssh\administrators_authorized_keys), or correct ssh_key"
        )
    if isinstance(error, socket.gaierror):
        return f"the name {host} cannot be resolved ({error.strerror}): correct ssh_hostname, or look at DNS"
    if isinstance(error, NoValidConnectionsError):  # one error for each address of the name
        error = next(iter(error.errors.values()))
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refuses connections: is sshd running there, and is the port right?"
    if isinstance(error, TimeoutError) or "banner" in str(error).lower() or _errno(error) == errno.ETIMEDOUT:
        return f"{where} does not answer within {timeout:.0f} s: is the host up, is the way to it open (firewall)?"
    if _errno(error) in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"{where} cannot be reached from here: is the host up, is the address right? ({_text(error)})"
    if isinstance(error, SSHException) and "unknown host key" in str(error):
        return (
            f"the host key of {where} is not in {known_hosts} ({in_one_line(error)}): compare it with the host's own,"
            f" then add it: ssh-keyscan -p {port} {host} >> {known_hosts}"
        )
    if isinstance(error, PyinfraError):
        return f"the private key for {where} cannot be used: {in_one_line(error)}"
    if isinstance(error, EOFError | ConnectionResetError):
        return f"{where} closed the connection while it was being set up: look into the log of sshd there"
    return f"cannot connect to {where} as {user}: {in_one_line(error)}"


def _wrong_host_key(error: BadHostKeyException, where: str, host: str, port: int, known_hosts: str) -> str:
    entry = host if port == 22 else f"[{host}]:{port}"
    return (
        f"the host key of {where} is {error.key.fingerprint}, {known_hosts} has {error.expected_key.fingerprint}:"
        " another machine answers, or the host was set up anew; once you are sure it was, run"
        f" ssh-keygen -f {known_hosts} -R '{entry}'"
    )


def _text(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or in_one_line(error)


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None
