"""One dial, over a network that is a coroutine of the test's."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from websocket_utils import ConfigError, HandshakeError, InvalidURL, ProviderError, WebSocketConfig
from websocket_utils._dialer import Dialer
from websocket_utils._endpoints import Endpoint
from websocket_utils._phases import DialPhases
from websocket_utils._url import Target

URL = "ws://desk.example/feed"


@dataclass
class Request:
    target: Target
    headers: Mapping[str, str]
    config: WebSocketConfig
    phases: DialPhases


class FakeNetwork:
    """Notes every request and does what `script` says."""

    def __init__(self, script: Callable[[Request], Awaitable[object]] | None = None) -> None:
        self.requests: list[Request] = []
        self._script = script

    async def __call__(
        self,
        target: Target,
        take: Any,
        /,
        *,
        headers: Mapping[str, str],
        subprotocols: tuple[str, ...],
        config: WebSocketConfig,
        ssl: ssl.SSLContext | None,
        phases: DialPhases,
    ) -> None:
        del subprotocols, ssl
        request = Request(target, headers, config, phases)
        self.requests.append(request)
        phases.enter("dns", 1_000)
        phases.enter("tcp", 1_010)
        if self._script is not None:
            await self._script(request)
        take(target)


def dialer(*endpoints: Endpoint, network: FakeNetwork, **settings: Any) -> Dialer:
    return Dialer(endpoints or (Endpoint(URL),), WebSocketConfig(**settings), (), None, network)


def nothing(_: Any) -> Any:
    return None


async def hang(_: Request) -> None:
    await asyncio.get_running_loop().create_future()


async def test_token_becomes_a_bearer_header_behind_one_of_the_callers() -> None:
    network = FakeNetwork()
    await dialer(Endpoint(URL, token="t", headers={"X-A": "1"}), network=network).dial(nothing)
    await dialer(Endpoint(URL, token="t", headers={"authorization": "Basic x"}), network=network).dial(nothing)
    assert [request.headers for request in network.requests] == [
        {"X-A": "1", "Authorization": "Bearer t"},
        {"authorization": "Basic x"},
    ]


async def test_callables_are_asked_anew_for_each_dial_and_told_of_a_refresh() -> None:
    told: list[bool] = []

    async def token(*, refresh: bool = False) -> str:
        told.append(refresh)
        return f"t{len(told)}"

    urls = iter(["ws://one.example/", "ws://two.example/"])
    network = FakeNetwork()
    made = dialer(Endpoint(lambda: next(urls), token=token), network=network)
    assert told == []
    await made.dial(nothing)
    await made.dial(nothing, refresh=True)
    assert told == [False, True]
    assert [request.target.url for request in network.requests] == ["ws://one.example/", "ws://two.example/"]
    assert [request.headers["Authorization"] for request in network.requests] == ["Bearer t1", "Bearer t2"]


async def test_endpoint_that_is_asked_for_is_dialled_with_its_own_headers() -> None:
    network = FakeNetwork()
    made = dialer(Endpoint(URL), Endpoint("ws://spare.example/", headers={"X-A": "1"}), network=network)
    await made.dial(nothing, endpoint=1)
    await made.dial(nothing)
    assert [(request.target.url, request.headers) for request in network.requests] == [
        ("ws://spare.example/", {"X-A": "1"}),
        (URL, {}),
    ]


def test_faults_of_all_endpoints_are_named_at_once_and_each_one_once() -> None:
    headers = {"X Y": "1"}
    endpoints = (Endpoint(URL, headers=headers), Endpoint(URL, headers=headers), Endpoint(URL, token="\n"))
    with pytest.raises(ConfigError) as caught:
        Dialer(endpoints, WebSocketConfig(), ("a b",), False)  # type: ignore[arg-type]  # what users try
    assert len(caught.value.faults) == 4
    with pytest.raises(ConfigError, match="at least one"):
        Dialer((), WebSocketConfig(), (), None)


async def test_redirects_share_the_headers_within_an_origin_and_withhold_secrets_elsewhere() -> None:
    locations = iter(["/second", "ws://elsewhere.example/", None])

    async def redirect(request: Request) -> None:
        if location := next(locations):
            raise HandshakeError(request.target.url, reason="moved", status=307, headers={"location": location})

    network = FakeNetwork(redirect)
    made = dialer(Endpoint(URL, token="t", headers={"X-A": "1"}), network=network, follow_redirects=2)
    phases = await made.dial(nothing)
    both = {"X-A": "1", "Authorization": "Bearer t"}
    assert [request.headers for request in network.requests] == [both, both, {"X-A": "1"}]
    assert phases.dns_ns == 30


@pytest.mark.parametrize("phase", ["dns", "tcp", "tls", "upgrade"])
async def test_failed_dial_says_where_it_went_and_how_far_it_got(phase: Any) -> None:
    error = ssl.SSLCertVerificationError("self-signed certificate") if phase == "tls" else OSError("no")

    async def fail(request: Request) -> None:
        request.phases.enter(phase, 2_000)
        raise error

    network = FakeNetwork(fail)
    with pytest.raises(OSError) as caught:  # noqa: PT011  # it is compared below
        await dialer(Endpoint("ws://u:s3cret@h/?s3cret"), network=network).dial(nothing)
    assert caught.value is error
    assert error.__notes__ == [f"while connecting to ws://h/?..., in phase {phase}"]


async def test_failing_callable_is_a_provider_error_and_nothing_is_opened() -> None:
    async def token() -> str:
        raise LookupError("no such key")

    network = FakeNetwork()
    with pytest.raises(ProviderError, match="no such key") as caught:
        await dialer(Endpoint(URL, token=token), network=network).dial(nothing)
    assert caught.value.__notes__ == [f"while connecting to {URL}, in phase provider"]
    assert network.requests == []


@pytest.mark.parametrize("what", ["url", "headers", "token"])
async def test_callable_that_hangs_is_a_timeout_that_names_it(what: str) -> None:
    ended: list[str] = []

    async def vault() -> Any:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(what)

    endpoint = {
        "url": lambda: Endpoint(vault),
        "headers": lambda: Endpoint(URL, headers=vault),
        "token": lambda: Endpoint(URL, token=vault),
    }[what]()
    network = FakeNetwork()
    with pytest.raises(
        TimeoutError, match=rf"no answer from the callable for {what} \(.*vault\) within 0\.01 s"
    ) as out:
        await dialer(endpoint, network=network, open_timeout=0.01).dial(nothing)
    assert out.value.__notes__[0].endswith(", in phase provider")
    assert ended == [what]
    assert network.requests == []


async def test_connection_that_hangs_is_a_timeout_that_names_url_and_phase() -> None:
    with pytest.raises(TimeoutError, match=rf"^no connection to {URL} within 0\.01 s \(open_timeout\)") as caught:
        await dialer(network=FakeNetwork(hang), open_timeout=0.01).dial(nothing)
    assert caught.value.__notes__ == [f"while connecting to {URL}, in phase tcp"]


async def test_time_limit_is_one_for_callables_connection_and_redirects_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[float | None] = []
    at = asyncio.timeout_at

    def recorded(when: float | None) -> asyncio.Timeout:
        ends.append(when)
        return at(when)

    monkeypatch.setattr(asyncio, "timeout_at", recorded)
    locations = iter(["/second", "/third", None])

    async def redirect(request: Request) -> None:
        if location := next(locations):
            raise HandshakeError(request.target.url, reason="moved", status=302, headers={"location": location})

    began = asyncio.get_running_loop().time()
    place = Endpoint(lambda: URL)
    await dialer(place, network=FakeNetwork(redirect), follow_redirects=2, open_timeout=7).dial(nothing)
    # Three for what may be a callable, three for connections.
    assert len(ends) == 6
    assert len(set(ends)) == 1
    assert ends[0] == pytest.approx(began + 7, abs=1)


async def test_timeout_of_the_system_is_not_taken_for_the_dials_own() -> None:
    error = TimeoutError(110, "Connection timed out")

    async def fail(_: Request) -> None:
        raise error

    with pytest.raises(TimeoutError) as caught:
        await dialer(network=FakeNetwork(fail)).dial(nothing)
    assert caught.value is error


async def test_dial_that_is_cancelled_is_cancelled_wherever_it_is() -> None:
    for made in (
        dialer(network=FakeNetwork(hang)),
        dialer(Endpoint(asyncio.get_running_loop().create_future), network=FakeNetwork()),
    ):
        dialling = asyncio.ensure_future(made.dial(nothing))
        await asyncio.sleep(0)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling


async def test_redirect_that_leads_nowhere_is_an_invalid_url() -> None:
    async def redirect(request: Request) -> None:
        raise HandshakeError(request.target.url, reason="moved", status=302, headers={"location": "ftp://h"})

    with pytest.raises(InvalidURL):
        await dialer(network=FakeNetwork(redirect), follow_redirects=1).dial(nothing)


async def test_settings_reach_the_network() -> None:
    network = FakeNetwork()
    await dialer(network=network, ping_interval=3).dial(nothing)
    assert network.requests[0].config.ping_interval == 3


def test_phases_add_up_and_those_not_reached_are_none() -> None:
    phases = DialPhases()
    phases.enter("provider", 10)
    phases.enter("dns", 12)
    phases.enter("tcp", 15)
    phases.enter("dns", 20)
    phases.enter("tcp", 21)
    phases.enter("upgrade", 31)
    assert (phases.provider_ns, phases.dns_ns, phases.tcp_ns) == (2, 4, 15)
    assert (phases.tls_ns, phases.upgrade_ns) == (None, None)
    phases.leave(40)
    phases.leave(50)
    assert phases.upgrade_ns == 9
    phases.enter("tls", 60)
    phases.leave(61)
    assert phases.tls_ns == 1
    assert phases.reached == "tls"
