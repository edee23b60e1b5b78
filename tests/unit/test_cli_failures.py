import errno
import socket
import ssl

import pytest

from websocket_utils import ConfigError, ConnectionClosedError
from websocket_utils.cli._failures import cannot_connect, cannot_listen, connection_lost, one_line


def verification_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), ["name is not known", "spelling"]),
        (verification_error(), ["not trusted", "self-signed", "SSL_CERT_FILE"]),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), ["TLS failed", "ws://"]),
        (TimeoutError("no connection"), ["no answer in time", "WS_OPEN_TIMEOUT"]),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ["refused", "no server listens there"]),
        (OSError(errno.ECONNREFUSED, "Multiple exceptions"), ["refused"]),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ["dropped the connection", "wss://"]),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), ["Network is unreachable"]),
    ],
)
def test_no_connection_is_one_line_with_its_reason(error: Exception, words: list[str]) -> None:
    line = str(cannot_connect("ws://host:1", error))
    assert line.startswith("cannot connect to ws://host:1: ")
    assert "\n" not in line
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, "in use"), ["port 80 on host", "in use", "--port 0"]),
        (PermissionError(errno.EACCES, "denied"), ["above 1023"]),
        (OSError(errno.EADDRNOTAVAIL, "no"), ["no address of this machine", "--host"]),
        (socket.gaierror(-2, "unknown"), ["no address of this machine"]),
        (OSError(errno.EMFILE, "Too many open files"), ["cannot listen on host:80", "Too many open files"]),
    ],
)
def test_no_listening_says_what_to_choose(error: OSError, words: list[str]) -> None:
    line = str(cannot_listen("host", 80, error))
    assert [word for word in words if word not in line] == []


def test_every_text_becomes_one_line() -> None:
    assert one_line(ConfigError(["port: bad", "host: bad"])) == "port: bad; host: bad"
    assert one_line(FileNotFoundError(errno.ENOENT, "No such file", "x.jsonl")) == "x.jsonl: No such file"
    assert one_line(OSError(errno.EIO, "broken")) == "broken"
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert str(connection_lost("ws://h", ConnectionClosedError(initiator="transport"))).startswith("lost ws://h: ")
