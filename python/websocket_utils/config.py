"""Settings of clients and servers, and the only reader of the environment.

The fields of `WebSocketConfig` are the one table of settings: each says its type, default, unit, range and meaning, and
parsing of `WS_*` variables, validation and the table in README.md are all driven by it.
"""

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypedDict, Unpack, cast, get_origin

from websocket_utils.exceptions import ConfigError

__all__ = ["ConfigOverrides", "WebSocketConfig", "environment_table", "environment_variable"]

_ENV_PREFIX = "WS_"
_MIB = 1024 * 1024
_MAX_PORT = 65_535
# Python's timers take any float; a century tells a typo (milliseconds for seconds, an epoch) from a wish.
_MAX_SECONDS = 100 * 365 * 86_400.0
# Sizes are kept in 64-bit counters in Rust; a limit near their end is a typo.
_MAX_BYTES = 1 << 40
# What the core counts a message with; more would be cut to it without a word.
_MAX_MESSAGE_BYTES = (1 << 32) - 1
_MAX_COUNT = 1 << 31


class ConfigOverrides(TypedDict, total=False):
    """Keyword arguments of `connect`, `bind` and `from_env`: the fields of `WebSocketConfig`, each optional."""

    host: str
    port: int
    reconnect_interval: float
    max_reconnect_attempts: int | None
    ping_interval: float | None
    message_buffer_size: int
    stable_after: float
    subscribe_timeout: float
    authenticate_timeout: float
    max_connection_age: float | None
    open_timeout: float
    close_timeout: float
    ping_timeout: float
    max_message_size: int
    max_send_queue: int
    max_inbox: int
    max_inbox_messages: int
    busy_poll: bool
    busy_poll_window: float
    max_lag: int
    fan_out_threads: int | None
    follow_redirects: int
    compression: bool
    compression_threshold: int
    compression_window_bits: int
    compression_context_takeover: bool
    max_connections: int | None
    max_connections_per_address: int | None
    max_connections_per_identity: int | None
    max_channels_per_connection: int
    commands_per_second: float | None
    origins: tuple[str, ...] | None
    hosts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Range:
    """What a number may be; `above` excludes its bound, `least` includes it."""

    most: float
    least: float | None = None
    above: float | None = None

    def fault(self, value: float) -> str | None:
        if not math.isfinite(value):
            return "must be a finite number"
        if self.least is not None and value < self.least:
            return f"must be at least {self.least:g}"
        if self.above is not None and value <= self.above:
            return f"must be above {self.above:g}"
        return f"must be at most {self.most:.15g}" if value > self.most else None


def _about(unit: str, meaning: str, within: _Range | None = None, *, none: str | None = None) -> dict[str, Any]:
    """Metadata of one setting; `none` says what None means where None is allowed."""
    return {"unit": unit, "meaning": meaning, "within": within, "none": none}


_SECONDS = _Range(above=0, most=_MAX_SECONDS)
_BYTES = _Range(least=1, most=_MAX_BYTES)
_COUNT = _Range(least=0, most=_MAX_COUNT)
_POSITIVE = _Range(least=1, most=_MAX_COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSocketConfig:
    """Settings of a client or a server, checked once when made.

    A client ignores `host`, `port` and `max_lag`; a server ignores the settings that say so in their meaning.
    README.md has the table of all fields with their defaults, units and meanings.

    Raises:
        ConfigError: If any setting is wrong; it names all wrong settings at once.
    """

    # A utility serves strategies on other machines; 127.0.0.1 keeps it to this one.
    host: str = field(default="0.0.0.0", metadata=_about("", "Address a server binds to"))  # noqa: S104  # said above
    port: int = field(
        default=8080,
        metadata=_about("", "Port a server binds to; 0 takes a free one", _Range(least=0, most=_MAX_PORT)),
    )
    reconnect_interval: float = field(
        default=5.0,
        metadata=_about("seconds", "Client: the most that one wait between two reconnect attempts may be", _SECONDS),
    )
    max_reconnect_attempts: int | None = field(
        default=10,
        metadata=_about("", "Client: consecutive failed attempts before it gives up", _COUNT, none="never gives up"),
    )
    # Below the 60 s after which common proxies and load balancers cut an idle connection.
    ping_interval: float | None = field(
        default=30.0, metadata=_about("seconds", "Time between two pings", _SECONDS, none="no pings")
    )
    message_buffer_size: int = field(
        default=1000,
        metadata=_about("messages", "Client: messages kept while disconnected, with `when_down='queue'`", _COUNT),
    )
    # A server that accepts and drops at once must not reset the backoff: it would be dialled a thousand times a second.
    stable_after: float = field(
        default=5.0,
        metadata=_about(
            "seconds", "Client: a connection that was live this long and brought a message resets the backoff", _SECONDS
        ),
    )
    subscribe_timeout: float = field(
        default=5.0,
        metadata=_about(
            "seconds",
            "Client: longest wait for a server that acknowledges subscriptions; then it is dialled anew",
            _SECONDS,
        ),
    )
    authenticate_timeout: float = field(
        default=10.0,
        metadata=_about(
            "seconds",
            "Longest that a client's `authenticate` may take, and that a server waits for a client to say who it is",
            _SECONDS,
        ),
    )
    max_connection_age: float | None = field(
        default=None,
        metadata=_about(
            "seconds",
            "Client: age at which a connection is exchanged for a new one, which is live before the old one is left",
            _SECONDS,
            none="never",
        ),
    )
    open_timeout: float = field(
        default=5.0,
        metadata=_about(
            "seconds", "Longest wait for TCP, TLS and the opening handshake together, on either side", _SECONDS
        ),
    )
    close_timeout: float = field(
        default=2.0,
        metadata=_about("seconds", "Longest wait for the peer's close frame; then the connection is aborted", _SECONDS),
    )
    ping_timeout: float = field(
        default=20.0, metadata=_about("seconds", "Longest wait for a pong; then the peer is taken for dead", _SECONDS)
    )
    # Thousands of updates in one message; what one hostile peer can make us hold is a small multiple of it.
    max_message_size: int = field(
        default=_MIB,
        metadata=_about("bytes", "Biggest message that is received", _Range(least=1, most=_MAX_MESSAGE_BYTES)),
    )
    max_send_queue: int = field(
        default=_MIB,
        metadata=_about("bytes", "Most that may wait to be sent on one connection; beyond it `send` raises", _BYTES),
    )
    max_inbox: int = field(
        default=4 * _MIB,
        metadata=_about("bytes", "Most that is received ahead of the reader; beyond it reading pauses", _BYTES),
    )
    max_inbox_messages: int = field(
        default=65_536,
        metadata=_about("messages", "Most messages that are received ahead of the reader; as `max_inbox`", _POSITIVE),
    )
    # Spinning takes a whole core while there is traffic: for who has one to give.
    busy_poll: bool = field(
        default=False,
        metadata=_about("", "Client: look for data without sleeping for `busy_poll_window` after each that came"),
    )
    busy_poll_window: float = field(
        default=0.001,
        metadata=_about("seconds", "Client: how long `busy_poll` spins after data", _Range(above=0, most=1)),
    )
    max_lag: int = field(
        default=4 * _MIB,
        metadata=_about("bytes", "Server: how far a client may fall behind before it is disconnected", _BYTES),
    )
    # A loop's thread spends nearly all of a flush in system calls, one for each client.
    fan_out_threads: int | None = field(
        default=None,
        metadata=_about(
            "threads",
            "Server: how many write to clients at most when many have something to get",
            _Range(least=1, most=64),
            none="one of each two cores, four at most",
        ),
    )
    follow_redirects: int = field(
        default=0, metadata=_about("", "Client: redirects followed in one opening handshake", _Range(least=0, most=20))
    )
    # Off: on a fast link it costs more latency than it saves, and each compressed direction up to 300 KiB of memory.
    compression: bool = field(
        default=False, metadata=_about("", "Negotiate permessage-deflate (RFC 7692); used where the peer agrees")
    )
    # About one network packet: below it fewer bytes arrive no earlier.
    compression_threshold: int = field(
        default=1024, metadata=_about("bytes", "Smallest message that is compressed when `send` is not told", _COUNT)
    )
    compression_window_bits: int = field(
        default=15,
        metadata=_about(
            "",
            "Largest window of compression, as a power of 2 in bytes, in either direction",
            _Range(least=9, most=15),
        ),
    )
    compression_context_takeover: bool = field(
        default=True,
        metadata=_about(
            "", "Let a message refer to the one before: smaller messages, and memory held for each connection"
        ),
    )
    max_connections: int | None = field(
        default=10_000,
        metadata=_about("", "Server: connections at once; beyond it requests get a 503", _POSITIVE, none="no limit"),
    )
    # Strategies of one machine come from one address, so only the operator knows how many are too many.
    max_connections_per_address: int | None = field(
        default=None,
        metadata=_about("", "Server: the same for one remote address", _POSITIVE, none="no limit of its own"),
    )
    max_connections_per_identity: int | None = field(
        default=None,
        metadata=_about(
            "",
            "Server: the same for one identity, where clients are authenticated",
            _POSITIVE,
            none="no limit of its own",
        ),
    )
    # What one client may hold of ours: a name costs memory, in a set and in the channel table.
    max_channels_per_connection: int = field(
        default=1024,
        metadata=_about("", "Server: channels and patterns that one client may be subscribed to", _POSITIVE),
    )
    # A client that asks for each of its 1024 channels by itself stays within the burst, which is two seconds' worth.
    commands_per_second: float | None = field(
        default=1000.0,
        metadata=_about(
            "1/second",
            "Server: `Subscribe`, `Unsubscribe`, `Authenticate` and `Ping` messages of one client; more are refused",
            _Range(above=0, most=1e6),
            none="no limit",
        ),
    )
    origins: tuple[str, ...] | None = field(
        default=None,
        metadata=_about(
            "",
            "Server: origins of web pages that may connect, such as `https://desk.example`; separated by commas",
            none="any",
        ),
    )
    hosts: tuple[str, ...] | None = field(
        default=None,
        metadata=_about(
            "", "Server: names it may be asked for by (`Host`), with or without port; separated by commas", none="any"
        ),
    )

    def __post_init__(self) -> None:
        """Check every setting and make durations floats."""
        faults: list[str] = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            fault = _fault(spec.type, spec.metadata, value)
            if fault:
                faults.append(f"{spec.name}: {fault}, not {value!r}")
            elif _kind(spec.type) is float and value is not None:
                object.__setattr__(self, spec.name, float(value))
        if faults:
            raise ConfigError(faults)

    def replace(self, **overrides: Unpack[ConfigOverrides]) -> Self:
        """Return a copy with some settings changed, checked anew.

        Raises:
            ConfigError: If any setting is wrong.
            TypeError: If an argument is no setting.
        """
        _check_names(overrides)
        values: dict[str, Any] = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        values.update(overrides)
        return type(self)(**values)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[ConfigOverrides]) -> Self:
        """Make a configuration from `WS_*` variables: argument before variable before default.

        A variable whose setting is given as an argument is not looked at, and `WS_*` variables that name no setting are
        ignored: other programs have some too.

        Args:
            environ: Where to read; None reads `os.environ`, now.
            **overrides: Settings that win over the environment.

        Raises:
            ConfigError: If any variable or argument is wrong; it names all of them at once.
            TypeError: If an argument is no setting.
        """
        _check_names(overrides)
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {**overrides}
        faults: list[str] = []
        for spec in fields(cls):
            name, kind = _env_name(spec.name), _kind(spec.type)
            if spec.name in overrides:
                fault = _fault(spec.type, spec.metadata, values[spec.name])
                if fault:
                    faults.append(f"{spec.name}: {fault}, not {values[spec.name]!r}")
                continue
            text = environ.get(name)
            if text is None:
                continue
            try:
                value = None if not text.strip() and spec.metadata["none"] else _parse(kind, text.strip())
            except ValueError:
                faults.append(f"{name}: must be {_KINDS[kind]}, not {text!r}; unset it for {_shown(spec.default)}")
                continue
            fault = _fault(spec.type, spec.metadata, value)
            if fault:
                faults.append(f"{name}: {fault}, not {text!r}; unset it for {_shown(spec.default)}")
            values[spec.name] = value
        if faults:
            raise ConfigError(faults)
        return cls(**values)


_KINDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a tuple of names",
}
_TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _kind(annotation: Any) -> type:
    """The type to parse to: `int` of `int | None`, `tuple` of `tuple[str, ...] | None`."""
    kind: Any = next((part for part in getattr(annotation, "__args__", ()) if part is not type(None)), annotation)
    return cast("type", get_origin(kind) or kind)


def _parse(kind: type, text: str) -> object:
    """The value that a variable's text stands for.

    Raises:
        ValueError: If it stands for none.
    """
    if kind is bool:
        if text.lower() not in _TRUTHS:
            raise ValueError(text)
        return _TRUTHS[text.lower()]
    if kind is tuple:
        return tuple(name.strip() for name in text.split(","))
    return kind(text)


def _env_name(setting: str) -> str:
    return _ENV_PREFIX + setting.upper()


def _check_names(overrides: Mapping[str, object]) -> None:
    known = [spec.name for spec in fields(WebSocketConfig)]
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"unknown setting {name!r}; {hint}")


def _fault(annotation: Any, about: Mapping[str, Any], value: object) -> str | None:
    """What is wrong with the value of one setting; None when it is right."""
    kind = _kind(annotation)
    if value is None and about["none"]:
        return None
    if kind is str:
        return None if isinstance(value, str) and value.strip() else "must be text that is not empty"
    if kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if kind is tuple:
        names = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (None,)
        are_names = all(isinstance(name, str) and name.strip() for name in names)
        return None if are_names else "must be a tuple of names that are not empty, or None"
    # bool is an int to Python, but `port=True` is a mistake to everyone.
    accepted = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, accepted):
        return f"must be {_KINDS[kind]}" + (" or None" if about["none"] else "")
    within: _Range | None = about["within"]
    return within.fault(value) if within else None


def _shown(value: object) -> str:
    if isinstance(value, int) and value >= _MIB and value % _MIB == 0:
        return f"{value} ({value // _MIB} MiB)"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def environment_table() -> str:
    """The settings as the Markdown table that README.md shows."""
    lines = ["| variable | type | default | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    for spec in fields(WebSocketConfig):
        none = spec.metadata["none"]
        cells = (
            f"`{_env_name(spec.name)}`",
            _kind(spec.type).__name__,
            "" if spec.default is None else _shown(spec.default),
            spec.metadata["unit"],
            spec.metadata["meaning"] + (f"; empty: {none}" if none else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def environment_variable(name: str) -> str:
    """Return a variable that a user has named, without blanks around it; empty where it is not set."""
    return os.environ.get(name, "").strip()
