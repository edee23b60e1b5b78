"""`publish` and `broadcast` of the door: bodies in, publications and answers out.

The bodies are those of Centrifugo's API. A body is checked in full before anything of it is published, all channels of
a broadcast included, and no other code runs in between.
"""

import binascii
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from websocket_utils._core import Decoder, Encoder
from websocket_utils._redaction import on_one_line
from websocket_utils.exceptions import DecodeError, EncodeError
from websocket_utils.namespaces import name_fault, namespace_of

from ._idempotency import Results
from ._refusals import BAD_REQUEST, NOT_AVAILABLE, UNKNOWN_CHANNEL, Refusal

__all__ = ["MAX_CHANNELS", "Channels", "Commands"]

MAX_CHANNELS = 1000
# A broadcast is encoded for each of its channels inside one turn of the event loop: its data times its channels.
_MAX_FAN_OUT = 16 * 1024 * 1024


class Channels(Protocol):
    """What commands need of a server."""

    @property
    def types(self) -> Mapping[str, Any]:
        """Declared namespaces and the type of their messages; None or Any where they take any."""
        ...

    @property
    def allows_undeclared(self) -> bool:
        """Whether channels of other namespaces may be published to."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be published any more."""
        ...

    def publish(self, channel: str, message: Any) -> tuple[int, int]:
        """Publish a message, and return epoch and sequence."""
        ...


class _Common(msgspec.Struct):
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64data: str = ""
    idempotency_key: str = ""
    # Accepted, and delivered to nobody: there is no place for them in what clients get.
    tags: dict[str, str] | None = None
    # Accepted: how a message travels is agreed with each client.
    delta: bool = False
    # What changes the meaning of a publication, and is not to be had here.
    skip_history: bool = False
    version: int = 0
    version_epoch: str = ""


class _Publish(_Common, kw_only=True):
    channel: str


class _Broadcast(_Common, kw_only=True):
    channels: list[str]


_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=_Common)

_publish_decoder = msgspec.json.Decoder(_Publish)
_broadcast_decoder = msgspec.json.Decoder(_Broadcast)
_any_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class Commands:
    """Carries out what the door is asked for.

    Args:
        channels: The server.
        results: Answers to requests with an idempotency key.
    """

    def __init__(self, channels: Channels, results: Results) -> None:
        self._channels = channels
        self._results = results
        self._decoders: dict[str, Decoder[Any]] = {
            name: Decoder(type_) for name, type_ in channels.types.items() if type_ is not None and type_ is not Any
        }
        # Clients speak these two, whatever the type is.
        self._encoders = (Encoder("json"), Encoder("msgpack"))

    def publish(self, body: bytes, now: float) -> bytes:
        """Carry out a `publish`; `now` is any clock that never goes back.

        Raises:
            Refusal: If anything of it is wrong; nothing is published then.
        """
        return self._run("publish", _publish_decoder, self._publish, body, now)

    def broadcast(self, body: bytes, now: float) -> bytes:
        """Carry out a `broadcast`; `now` is any clock that never goes back.

        Raises:
            Refusal: If anything of it is wrong; nothing is published then.
        """
        return self._run("broadcast", _broadcast_decoder, self._broadcast, body, now)

    def _run(
        self,
        api: str,
        decoder: msgspec.json.Decoder[_Body],
        apply: Callable[[_Body], dict[str, Any]],
        body: bytes,
        now: float,
    ) -> bytes:
        command = _read(decoder, body)
        key = command.idempotency_key
        if key and (answer := self._results.find(api, key, body, now)) is not None:
            return answer
        if self._channels.is_closed:
            raise Refusal(503, NOT_AVAILABLE, "the server is closed: nothing can be published any more")
        answer = msgspec.json.encode({"result": apply(command)})
        if key:
            self._results.keep(api, key, body, answer, now)
        return answer

    def _publish(self, command: _Publish) -> dict[str, Any]:
        self._check_channel(command.channel, "$.channel")
        message = self._message(command, command.channel)
        try:
            return self._published(command.channel, message)
        except EncodeError as error:
            raise Refusal(400, BAD_REQUEST, on_one_line(str(error)), path="$.data") from None

    def _broadcast(self, command: _Broadcast) -> dict[str, Any]:
        channels = command.channels
        if not 0 < len(channels) <= MAX_CHANNELS:
            raise Refusal(
                400,
                BAD_REQUEST,
                f"a broadcast has 1 to {MAX_CHANNELS} channels, not {len(channels)}",
                path="$.channels",
            )
        size = len(command.b64data) if isinstance(command.data, msgspec.UnsetType) else len(memoryview(command.data))
        if size * len(channels) > _MAX_FAN_OUT:
            raise Refusal(
                413,
                BAD_REQUEST,
                f"{size} bytes of data to {len(channels)} channels are over the limit of {_MAX_FAN_OUT} bytes for one "
                "request: send fewer channels at a time",
                path="$.channels",
            )
        for place, channel in enumerate(channels):
            self._check_channel(channel, f"$.channels[{place}]")
        # One object for all channels of a type; those of no type have one too.
        messages: dict[str, Any] = {}
        for channel in channels:
            if self._typed_space(channel) not in messages:
                messages[self._typed_space(channel)] = self._message(command, channel)
        responses: list[dict[str, Any]] = []
        for channel in channels:
            try:
                published = self._published(channel, messages[self._typed_space(channel)])
            except EncodeError as error:
                # The message has no form for those who listen to this channel: they get nothing, the others all.
                responses.append(Refusal(400, BAD_REQUEST, on_one_line(str(error))).body)
            else:
                responses.append({"result": published})
        return {"responses": responses}

    def _typed_space(self, channel: str) -> str:
        space = namespace_of(channel)
        return space if space in self._decoders else ""

    def _check_channel(self, channel: str, path: str) -> None:
        fault = name_fault(channel)
        if fault is not None:
            raise Refusal(400, BAD_REQUEST, fault, path=path)
        if not self._channels.allows_undeclared and namespace_of(channel) not in self._channels.types:
            raise Refusal(404, UNKNOWN_CHANNEL, "unknown channel: no such namespace", path=path)

    def _message(self, command: _Common, channel: str) -> Any:
        """What is to be published in a channel, checked."""
        decoder = self._decoders.get(namespace_of(channel))
        if isinstance(command.data, msgspec.UnsetType):
            if decoder is not None:
                raise Refusal(
                    400, BAD_REQUEST, f"namespace {namespace_of(channel)!r} is typed: it takes data, no b64data"
                )
            return _binary(command.b64data)
        if decoder is not None:
            message = _typed(decoder, command.data)
        else:
            message = _read(_any_decoder, memoryview(command.data), "$.data")
        try:
            for encoder in self._encoders:
                encoder.encode(message)
        except EncodeError as error:
            raise Refusal(400, BAD_REQUEST, on_one_line(str(error)), path="$.data") from None
        return message

    def _published(self, channel: str, message: Any) -> dict[str, Any]:
        epoch, sequence = self._channels.publish(channel, message)
        # Centrifugo's epochs are text.
        return {"offset": sequence, "epoch": str(epoch)}


def _read(decoder: msgspec.json.Decoder[_T], body: bytes | memoryview, path: str = "") -> _T:
    try:
        read = decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        raise Refusal(400, BAD_REQUEST, on_one_line(message), path=where.removesuffix("`") or "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, BAD_REQUEST, f"this is no JSON: {on_one_line(str(error))}", path=path) from None
    except RecursionError:
        raise Refusal(400, BAD_REQUEST, "this JSON is nested too deeply", path=path) from None
    if isinstance(read, _Common):
        _check(read)
    return read


def _check(command: _Common) -> None:
    if isinstance(command.data, msgspec.UnsetType) and not command.b64data:
        raise Refusal(400, BAD_REQUEST, "Object missing required field `data`", path="$")
    if not isinstance(command.data, msgspec.UnsetType) and command.b64data:
        raise Refusal(400, BAD_REQUEST, "there is data and b64data: which of them is meant?", path="$")
    for name in ("skip_history", "version", "version_epoch"):
        if getattr(command, name):
            raise Refusal(400, NOT_AVAILABLE, f"{name} is not available here", path=f"$.{name}")


def _typed(decoder: Decoder[Any], data: msgspec.Raw) -> Any:
    try:
        return decoder.decode(memoryview(data))
    except DecodeError as error:
        path = "$.data" + error.path.removeprefix("$")
        raise Refusal(400, BAD_REQUEST, on_one_line(error.args[0]), path=path) from None


def _binary(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise Refusal(400, BAD_REQUEST, f"b64data is no base64: {error}", path="$.b64data") from None
