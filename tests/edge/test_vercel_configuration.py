"""What the publishing functions make of their environment, and of any JSON: the same in both languages."""

import json
import re
import socket
import ssl
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic

import pytest
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.property.scale import scaled
from tests.support import vercel_calls
from tests.support.scripted_door import ScriptedDoor, answer, silent
from tests.support.vercel_calls import Request

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

TOKEN = "who-may-call-the-function"
KEY = "what-the-door-asks-for"
RESULT = '{"result":{"offset":18446744073709551615,"epoch":"1"}}'
WELL = {"PUBLISH_TOKEN": TOKEN, "FEED_URL": "http://127.0.0.1:9", "FEED_KEY": KEY}
CALLER = {"Authorization": f"Bearer {TOKEN}"}
UPDATE = '{"channel":"news:1","data":1}'

Function = vercel_calls.TypeScript | vercel_calls.Python


@pytest.fixture(scope="module")
def typescript() -> Iterator[vercel_calls.TypeScript]:
    with vercel_calls.typescript("api/publish.ts") as one:
        yield one


@pytest.fixture(scope="module")
def python() -> vercel_calls.Python:
    return vercel_calls.Python("api/publish_price.py")


@pytest.fixture(params=["typescript", "python"])
def function(request: pytest.FixtureRequest) -> Function:
    found: Function = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def door() -> Iterator[ScriptedDoor]:
    one = ScriptedDoor()
    yield one
    one.close()


def changed(**variables: str | None) -> Mapping[str, str]:
    return {name: value for name, value in {**WELL, **variables}.items() if value is not None}


@pytest.mark.parametrize(
    "value", [None, "", "short", "spaces within it 0123", "a-t\N{LATIN SMALL LETTER O WITH DIAERESIS}ken-0123456789"]
)
async def test_function_without_a_token_of_its_own_lets_nobody_in(function: Function, value: str | None) -> None:
    for headers in ({}, CALLER, {"Authorization": "Bearer "}, {"Authorization": "Bearer undefined"}):
        found = await function.call(Request(UPDATE, changed(PUBLISH_TOKEN=value), headers))
        assert (found.status, found.json["error"]["code"]) == (500, 1001)
        assert found.json["error"]["message"].startswith("PUBLISH_TOKEN ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FEED_URL", None),
        ("FEED_URL", ""),
        ("FEED_URL", "feed.example"),
        ("FEED_URL", "//feed.example"),
        ("FEED_URL", "https://"),
        ("FEED_URL", "https://feed.example:port"),
        ("FEED_URL", "ftp://feed.example"),
        ("FEED_URL", "ws://127.0.0.1:9"),
        ("FEED_URL", "http://feed.example"),
        ("FEED_URL", "http://127.0.0.1.feed.example"),
        ("FEED_URL", "http://localhost@feed.example"),
        ("FEED_URL", "https://user:password@feed.example"),
        ("FEED_URL", "https://feed.example/?key=1"),
        ("FEED_URL", "https://feed.example/#door"),
        ("FEED_KEY", None),
        ("FEED_KEY", "short"),
        ("FEED_KEY", "with a line break\r\nX: 1"),
        ("PUBLISH_CHANNELS", "fills:*"),
        ("PUBLISH_CHANNELS", '"prices:*"'),
        ("PUBLISH_CHANNELS", "[1234]"),
        ("PUBLISH_CHANNELS", '["prices:*:SOL"]'),
        ("PUBLISH_CHANNELS", '["prices:*", ""]'),
        ("PUBLISH_TIMEOUT", "0"),
        ("PUBLISH_TIMEOUT", "-1"),
        ("PUBLISH_TIMEOUT", "2s"),
        ("PUBLISH_TIMEOUT", "60"),
        ("PUBLISH_TIMEOUT", "inf"),
        ("PUBLISH_TIMEOUT", "nan"),
    ],
)
async def test_wrong_variable_is_told_to_those_who_have_the_token_alone_and_without_its_value(
    function: Function, variable: str, value: str | None
) -> None:
    environment = changed(**{variable: value})
    found = await function.call(Request(UPDATE, environment, CALLER))
    assert (found.status, found.json["error"]["code"]) == (500, 1001)
    assert found.json["error"]["message"].startswith(f"{variable} ")
    # What is short is in any text.
    assert not value or len(value) < 4 or value not in found.body
    assert (await function.call(Request(UPDATE, environment, {}))).status == 401


@pytest.mark.parametrize(
    ("channel", "status"),
    [("prices:SOL", 200), ("prices:", 200), ("news", 200), ("price", 403), ("news:1", 403), ("fills:prices:SOL", 403)],
)
async def test_function_publishes_in_its_channels_alone(
    function: Function, both_doors: ScriptedDoor, channel: str, status: int
) -> None:
    environment = changed(FEED_URL=both_doors.url, PUBLISH_CHANNELS='["prices:*", "news"]')
    body = json.dumps({"channel": channel, "data": 1})
    found = await function.call(Request(body, environment, CALLER))
    assert found.status == status
    assert len(both_doors.requests) == (1 if status == 200 else 0)
    if status != 200:
        assert (found.json["error"]["code"], found.json["error"]["path"]) == (103, "$.channel")
    everything = await function.call(Request(body, {**environment, "PUBLISH_CHANNELS": '["*"]'}, CALLER))
    nothing = await function.call(Request(body, {**environment, "PUBLISH_CHANNELS": "[]"}, CALLER))
    assert (everything.status, nothing.status) == (200, 403)


async def test_url_with_a_path_and_a_slash_leads_below_it(function: Function, door: ScriptedDoor) -> None:
    door.script.append(answer(200, RESULT))
    found = await function.call(Request(UPDATE, changed(FEED_URL=f"{door.url}/feed/"), CALLER))
    # The number is the door's, to the digit.
    assert (found.status, found.body) == (200, RESULT)
    assert door.requests[0].path == "/feed/api/publish"


async def test_door_that_is_down_is_a_502_after_two_attempts(function: Function) -> None:
    with socket.socket() as nobody:
        # Bound and not listening: what dials it is refused, and nobody else takes the port.
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        began = monotonic()
        found = await function.call(Request(UPDATE, changed(FEED_URL=url), CALLER))
    assert (found.status, found.json["error"]["code"]) == (502, 1002)
    # The pause between the attempts.
    assert monotonic() - began >= 0.05


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def https_door(authority: trustme.CA) -> Iterator[ScriptedDoor]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    one = ScriptedDoor(ssl=context, fallback=answer(200, RESULT))
    yield one
    one.close()


async def test_https_door_is_asked_where_its_certificate_is_trusted(
    https_door: ScriptedDoor, authority: trustme.CA, python: vercel_calls.Python, tmp_path: Path
) -> None:
    trusted = str(tmp_path / "authority.pem")
    authority.cert_pem.write_to_path(trusted)
    with vercel_calls.typescript("api/publish.ts", NODE_EXTRA_CA_CERTS=trusted) as typescript:
        for function, more in ((typescript, {}), (python, {"SSL_CERT_FILE": trusted})):
            found = await function.call(Request(UPDATE, changed(FEED_URL=https_door.url, **more), CALLER))
            assert (found.status, found.body) == (200, RESULT)
    assert [one.headers["x-api-key"] for one in https_door.requests] == [KEY, KEY]


async def test_door_whose_certificate_nobody_vouches_for_never_gets_the_key(
    function: Function, https_door: ScriptedDoor
) -> None:
    found = await function.call(Request(UPDATE, changed(FEED_URL=https_door.url), CALLER))
    assert (found.status, found.json["error"]["code"]) == (502, 1002)
    assert https_door.requests == []


@pytest.mark.slow
async def test_door_has_two_seconds_unless_told_otherwise(function: Function, door: ScriptedDoor) -> None:
    door.script += [silent, answer(200, RESULT)]
    found = await function.call(Request(UPDATE, changed(FEED_URL=door.url), CALLER))
    assert found.status == 200
    first, second = door.requests
    assert 1.9 < second.at - first.at < 4


# --- both are alike, whatever they are sent ---

SPACES = st.text(" \t\n\r", max_size=2)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
STRINGS = st.text(max_size=6).map(json.dumps) | st.text('\\"{}[],:x*é ', max_size=6).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
VALUES = st.recursive(
    STRINGS | NUMBERS | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda all_: f"[{', '.join(all_)}]")
        | st.lists(st.tuples(STRINGS, inner), max_size=3).map(
            lambda all_: "{" + ",".join(f"{name}:{value}" for name, value in all_) + "}"
        )
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["channel", "data", "idempotency_key"]).map(json.dumps) | STRINGS


@st.composite
def bodies(draw: st.DrawFn) -> str:
    channel = draw(st.just('"news:1"') | STRINGS)
    members = [('"channel"', channel), ('"data"', draw(VALUES))]
    members += draw(st.lists(st.tuples(NAMES, VALUES), max_size=1))
    order = draw(st.permutations(members))
    space = draw(SPACES)
    text = ",".join(f"{space}{name}{space}:{space}{value}{space}" for name, value in order)
    text = f"{space}{{{text}}}{space}"
    at = draw(st.integers(0, len(text)))
    # Mostly JSON; now and then a character of it is another one.
    return text[:at] + draw(st.sampled_from(["", "", "", "x", '"', "}", "]", ",", "\\"])) + text[at:]


def is_known_to_all(body: str) -> bool:
    """Whether each character, escaped ones too, has been in Unicode for long: runtimes have other versions of it."""
    escaped = re.sub(r"(?:\\u[0-9a-fA-F]{4})+", lambda found: json.loads(f'"{found[0]}"'), body)
    return all(unicodedata.ucd_3_2_0.category(character) != "Cn" for character in escaped)


# The door is cleared for each body.
@settings(max_examples=scaled(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies().filter(is_known_to_all))
@example(body='{"channel":"news:1","data":{"}":"{"},"x":[]}')
@example(body='{"channel":"news:\\u0085","data":1}')
@example(body='{"channel":"news:\U0001f600","data":"\\ud83d\\ude00"}')
@example(body='{"channel":"' + "\U0001f600" * 256 + '","data":1}')
@example(body='{"channel":"news:\N{NO-BREAK SPACE}","data":1}')
@example(body='{"channel":"news:\N{SOFT HYPHEN}","data":1}')
@example(body='{"channel":"news: 1","data":-0.0e-0}')
@example(body='{"channel":"news:1","data":' + "1" * 5000 + "}")
async def test_any_body_is_answered_alike_by_both_languages(
    typescript: vercel_calls.TypeScript, python: vercel_calls.Python, both_doors: ScriptedDoor, body: str
) -> None:
    both_doors.requests.clear()
    request = Request(body, changed(FEED_URL=both_doors.url), CALLER)
    ours = await typescript.call(request)
    sent = [one.body for one in both_doors.requests]
    theirs = await python.call(request)
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert ours.headers.get("idempotency-key") == theirs.headers.get("idempotency-key")
    # The very same bytes: whichever of the two a caller tries again with, it is published once.
    assert [one.body for one in both_doors.requests] == sent * 2


@pytest.fixture
def both_doors(door: ScriptedDoor) -> ScriptedDoor:
    door.fallback = answer(200, RESULT)
    return door
