"""Time that jumps: over waits and nothing else."""

import asyncio
import socket
import threading
import time

import pytest

from websocket_utils.testing import VirtualClock


def test_waits_take_no_time_and_end_in_their_order() -> None:
    order: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append((name, clock.time()))

    async def main() -> str:
        async with asyncio.TaskGroup() as group:
            for name, seconds in [("hour", 3600), ("blink", 0.001), ("day", 86_400), ("year", 365 * 86_400)]:
                group.create_task(wait(name, seconds))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        return "done"

    clock = VirtualClock()
    begin = time.monotonic()
    assert clock.run(main(), debug=True) == "done"
    assert time.monotonic() - begin < 2
    assert order == [("blink", 0.001), ("hour", 3600), ("day", 86_400), ("year", 365 * 86_400)]
    assert clock.time() == pytest.approx(365 * 86_400 + 600)


@pytest.mark.virtual_clock
async def test_time_stands_still_while_code_runs_and_begins_at_zero() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClock)
    assert loop.time() == 0
    time.sleep(0.01)  # noqa: ASYNC251  # what is measured is that nobody sees it
    await asyncio.sleep(0)
    assert loop.time() == 0


@pytest.mark.virtual_clock
async def test_advance_passes_timers_without_running_them_until_the_next_turn() -> None:
    clock = asyncio.get_running_loop()
    assert isinstance(clock, VirtualClock)
    ran: list[float] = []
    clock.call_later(5, lambda: ran.append(clock.time()))
    clock.advance(60)
    assert (clock.time(), ran) == (60, [])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ran == [60]
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


@pytest.mark.virtual_clock
async def test_steps_too_small_for_a_float_do_not_stop_time() -> None:
    clock = asyncio.get_running_loop()
    assert isinstance(clock, VirtualClock)
    clock.advance(1e12)
    for _ in range(3):
        await asyncio.sleep(1e-12)
    await asyncio.sleep(1)
    assert clock.time() >= 1e12 + 1


def test_wait_for_ever_is_an_error_instead() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="for ever"):
        VirtualClock().run(main())


@pytest.mark.virtual_clock
async def test_time_is_real_while_a_thread_works_or_a_socket_is_watched() -> None:
    clock = asyncio.get_running_loop()
    assert isinstance(clock, VirtualClock)
    timer = clock.call_later(3600, lambda: None)
    await clock.run_in_executor(None, time.sleep, 0.05)
    assert 0.04 <= clock.time() < 5
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        threading.Timer(0.02, other.send, (b"x",)).start()
        begin = clock.time()
        assert await clock.sock_recv(one, 1) == b"x"
        assert 0.01 <= clock.time() - begin < 5
    timer.cancel()
    begin = clock.time()
    await asyncio.sleep(3600)
    assert clock.time() == pytest.approx(begin + 3600)


def test_threads_that_were_there_before_are_not_waited_for() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="for ever"):
            VirtualClock().run(main())
    finally:
        stop.set()
        thread.join()
