import asyncio
import logging

import pytest
from tests.support.memory import Link
from tests.support.wire import BINARY, frame

from websocket_utils._faults import Faults
from websocket_utils.exceptions import DecodeError

LOGGER = logging.getLogger("websocket_utils.test")


def broken() -> DecodeError:
    return DecodeError("no number", format="json", path="$.price", raw=b"{}")


def test_each_kind_is_logged_at_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(LOGGER)
    for _ in range(1000):
        faults.report(broken())
    faults.report(ValueError("other"))
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 5
    assert "seen" not in texts[0]
    assert "seen 10 times" in texts[1]
    assert "seen 1000 times" in texts[3]
    assert "other" in texts[4]


def test_decode_errors_are_warnings_and_handler_errors_are_errors_with_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = Faults(LOGGER)
    faults.report(broken())
    faults.report(ValueError("x"))
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records] == [
        (logging.WARNING, False),
        (logging.ERROR, True),
    ]


def test_decode_errors_go_to_callbacks_instead_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(LOGGER)
    seen: list[DecodeError] = []

    def fails(_: DecodeError) -> None:
        raise KeyError("callback")

    faults.on_decode_error(fails)
    faults.on_decode_error(seen.append)
    error = broken()
    faults.report(error)
    assert seen == [error]
    (record,) = caplog.records
    assert "callback" in record.getMessage()


async def test_what_an_async_handler_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(LOGGER)

    async def handler() -> None:
        raise ValueError("later")

    faults.run(handler(), Link().connection, 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "later" in caplog.text


async def test_a_plain_value_of_a_handler_means_nothing() -> None:
    Faults(LOGGER).run(7, Link().connection, 1)  # type: ignore[arg-type]  # what handlers return by accident


async def test_finish_cancels_and_awaits_handlers_but_not_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(LOGGER)
    ends: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")

    async def finishes() -> None:
        await faults.finish()
        ends.append("finished")

    faults.run(waits(), Link().connection, 1)
    faults.run(finishes(), Link().connection, 1)
    async with asyncio.timeout(1):
        while len(ends) < 2:  # noqa: ASYNC110  # the list is what is waited for
            await asyncio.sleep(0)
    assert ends == ["cancelled", "finished"]
    assert caplog.records == []


async def test_slow_async_handlers_hold_reading_at_the_bound_and_let_go_under_half() -> None:
    faults = Faults(LOGGER)
    go_on = asyncio.Semaphore(0)

    async def handler(_message: bytes) -> None:
        await go_on.acquire()

    link = Link(max_inbox=100_000, run=faults.run)
    link.inbox.on(bytes, handler)
    message = frame(BINARY, bytes(20_000), masked=False)
    held: list[bool] = []
    for _ in range(6):
        link.receive(message)
        link.loop.turn()
        held.append(not link.transport.reads())
    # Five of them, with what a task takes, are over it.
    assert held == [False] * 4 + [True] * 2
    assert link.connection.take_activity()
    assert link.connection.take_activity(), "silence says nothing while we do not read"
    for left in range(5, -1, -1):
        go_on.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert link.transport.reads() is (left <= 2), left
    assert not link.connection.take_activity()


async def test_async_handlers_of_a_lost_connection_end_in_peace() -> None:
    faults = Faults(LOGGER)
    go_on = asyncio.Event()

    async def handler(_message: bytes) -> None:
        await go_on.wait()

    link = Link(max_inbox=10, run=faults.run)
    link.inbox.on(bytes, handler)
    link.receive(frame(BINARY, bytes(100), masked=False))
    link.loop.turn()
    link.connection.connection_lost(None)
    go_on.set()
    await faults.finish()
    assert link.owner.calls == ["lost"]
    assert link.faults == []
