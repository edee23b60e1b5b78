"""One line for everything that can go wrong at a command: what, where, what now."""

import errno
import socket
import ssl

from websocket_utils.exceptions import ConfigError, ConnectionClosed, WebSocketError

EXPECTED = (WebSocketError, OSError)
"""Failures that are about the input or the world; anything else is a fault of ours."""


class Failure(Exception):
    """Ends a command with exit code 1; its text is the line that is shown."""


def cannot_connect(url: str, error: Exception) -> Failure:
    """Say why there is no connection to `url` (given without credentials)."""
    return Failure(f"cannot connect to {url}: {_connect_reason(error)}")


def _connect_reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host's name is not known ({error.strerror}); check its spelling and your network"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate is not trusted ({error.verify_message}); check the name, or set SSL_CERT_FILE to the "
            "file of the authority that signed it"
        )
    if isinstance(error, ssl.SSLError):
        # Only OpenSSL's own errors have a reason.
        reason = getattr(error, "reason", None) or one_line(error)
        return f"TLS failed ({reason}); does the server expect ws:// in place of wss://?"
    if isinstance(error, TimeoutError):
        return "no answer in time; check host, port and firewall, or allow more with WS_OPEN_TIMEOUT (seconds)"
    if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) == errno.ECONNREFUSED:
        return "refused: no server listens there; check host and port, and that the server runs"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "the server dropped the connection before the handshake was done; ws:// against wss://?"
    return one_line(error)


def cannot_listen(
    host: str, port: int, error: OSError, *, port_option: str = "--port ", host_option: str = "--host"
) -> Failure:
    """Say why a server cannot listen on `host` and `port`.

    Args:
        host: As it was asked for.
        port: As it was asked for.
        error: What `bind` raised.
        port_option: How the command is given a port, up to its digits.
        host_option: Which option has the host.
    """
    option = port_option.split(maxsplit=1)[0]
    if error.errno == errno.EADDRINUSE:
        return Failure(
            f"port {port} on {host} is in use: choose another with {option}, or {port_option}0 for any free one"
        )
    if error.errno == errno.EACCES:
        return Failure(f"port {port} on {host} is not allowed to you: choose one above 1023 with {option}")
    # asyncio tells of addresses that are not this machine's in a text alone.
    if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRNOTAVAIL, None}:
        return Failure(
            f"{host} is no address of this machine: choose one with {host_option}, such as 127.0.0.1 or 0.0.0.0"
        )
    return Failure(f"cannot listen on {host}:{port}: {one_line(error)}")


def connection_lost(url: str, error: ConnectionClosed) -> Failure:
    """Say how the connection to `url` ended."""
    return Failure(f"lost {url}: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """The text of any exception, on one line."""
    if isinstance(error, ConfigError):
        text = "; ".join(error.faults)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
