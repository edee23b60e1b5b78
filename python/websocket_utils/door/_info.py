"""The answer to `/api/info`, out of facts and samples."""

import dataclasses
from importlib.metadata import version

from ._facts import ChannelRow, ClientRow, Facts, Info, Latency
from ._samples import Samples, quantiles

__all__ = ["info"]


def info(facts: Facts, samples: Samples, *, now: float, wall_time: float) -> Info:
    """Put together what is known; `now` is the samples' clock, `wall_time` Unix time."""
    return Info(
        version=version("websocket_utils"),
        url=facts.url,
        ready=facts.is_ready,
        now=wall_time,
        uptime=samples.age(now),
        connections=facts.stats.connections,
        lagging=facts.stats.lagging,
        channel_count=facts.stats.channels,
        subscriptions=facts.stats.subscriptions,
        totals={name: int(value) for name, value in dataclasses.asdict(facts.stats).items()},
        rates=samples.rates(facts.counted, now),
        latency=Latency(
            # Nothing measures it yet.
            publish_to_flush=None,
            round_trip=quantiles(facts.round_trips),
            loop_lag=samples.loop_lag(),
        ),
        samples=samples.samples,
        channels=[
            ChannelRow(channel=name, subscribers=subscribers, epoch=str(epoch), offset=sequence)
            for name, subscribers, epoch, sequence in facts.channels
        ],
        slowest=[
            ClientRow(address=address, behind=behind, blocked=blocked) for address, behind, blocked in facts.slowest
        ],
    )
