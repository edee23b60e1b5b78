import asyncio
import logging

import pytest

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

    faults.run(handler())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "later" in caplog.text


async def test_a_plain_value_of_a_handler_means_nothing() -> None:
    Faults(LOGGER).run(7)  # type: ignore[arg-type]  # what handlers return by accident


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

    faults.run(waits())
    faults.run(finishes())
    async with asyncio.timeout(1):
        while len(ends) < 2:  # noqa: ASYNC110  # the list is what is waited for
            await asyncio.sleep(0)
    assert ends == ["cancelled", "finished"]
    assert caplog.records == []
