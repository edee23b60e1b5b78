"""The books of the reader in `hostile/edge.py`: what is missing, doubled or out of order shows."""

import pytest
from hostile._edge_reader import Reader

from websocket_utils import PriceUpdate


def read(*numbers: int, of_each: int) -> tuple[int, int, int, int]:
    reader = Reader(2)
    for number in numbers:
        reader.take(PriceUpdate("M1", "USDC", 1.0, volume=number, timestamp=0))
    for number in range(1, of_each + 1):
        reader.take(PriceUpdate("M0", "USDC", 1.0, volume=number, timestamp=0))
    books = reader.close_books(of_each)
    return books.received - of_each, books.lost, books.doubled, books.disordered


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ((1, 2, 3), (3, 0, 0, 0)),
        ((1, 3), (2, 1, 0, 0)),
        ((2, 3), (2, 1, 0, 0)),
        ((1, 2), (2, 1, 0, 0)),
        ((1, 2, 2, 3), (4, 0, 1, 0)),
        ((1, 2, 3, 1, 2), (5, 0, 2, 0)),
        ((1, 3, 2), (3, 0, 0, 1)),
        ((), (0, 3, 0, 0)),
    ],
)
def test_what_is_missing_doubled_or_out_of_order_is_in_the_books(
    numbers: tuple[int, ...], found: tuple[int, int, int, int]
) -> None:
    assert read(*numbers, of_each=3) == found
