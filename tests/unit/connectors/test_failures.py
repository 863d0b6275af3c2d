"""Each way a connection fails is one line that names the place and the remedy."""

from __future__ import annotations

import errno
import socket

import pytest
from paramiko import AuthenticationException, ECDSAKey, SSHException
from paramiko.ssh_exception import BadHostKeyException, NoValidConnectionsError
from pyinfra.api.exceptions import PyinfraError

from gofallback.connectors.failures import connect_failure

ADDRESS = ("192.0.2.7", 2222)
ONE, OTHER = ECDSAKey.generate(), ECDSAKey.generate()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadHostKeyException(ADDRESS[0], ONE, OTHER), "ssh-keygen -f /home/me/known_hosts -R '[192.0.2.7]:2222'"),
        (BadHostKeyException(ADDRESS[0], ONE, OTHER), ONE.fingerprint),
        (AuthenticationException("Authentication failed."), "user builder with the key /home/me/key"),
        (NoValidConnectionsError({ADDRESS: ConnectionRefusedError(111, "refused")}), "refuses connections"),
        (NoValidConnectionsError({ADDRESS: OSError(errno.EHOSTUNREACH, "No route to host")}), "cannot be reached"),
        (TimeoutError("timed out"), "does not answer within 10 s"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "does not answer within 10 s"),
        (SSHException("Error reading SSH protocol banner"), "does not answer within 10 s"),
        (SSHException("unknown host key SHA256:abc"), "ssh-keyscan -p 2222 192.0.2.7 >> /home/me/known_hosts"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved"),
        (PyinfraError("No such private key file: /home/me/key"), "/home/me/key"),
        (ConnectionResetError(104, "reset by peer"), "closed the connection"),
        (EOFError(), "closed the connection"),
        (SSHException("Incompatible ssh peer\n(no acceptable kex algorithm)"), "no acceptable kex algorithm"),
    ],
    ids=[str(number) for number in range(14)],  # a fresh key is in some, and every worker has to find the same names
)
def test_a_failure_is_one_line_with_place_and_remedy(error: BaseException, said: str) -> None:
    line = connect_failure(
        error,
        host=ADDRESS[0],
        port=ADDRESS[1],
        user="builder",
        key="/home/me/key",
        known_hosts="/home/me/known_hosts",
        timeout=10,
    )
    assert said in line and ADDRESS[0] in line and "\n" not in line
