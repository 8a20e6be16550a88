"""Array literals: PostgreSQL reads back what was written."""

from collections.abc import Sequence

import asyncpg
import pytest

from storage.arrays import array_of, array_of_arrays, array_of_words

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    "numbers",
    [[], [1], [0, -1, LARGEST, -LARGEST - 1], [None], [1, None, 3]],
    ids=["none", "one", "the largest", "a null", "nulls among others"],
)
async def test_numbers_arrive_as_they_were(
    numbers: Sequence[int | None], connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    assert await connection.fetchval("SELECT $1::text::bigint[]", array_of(numbers)) == numbers


@pytest.mark.parametrize("words", [[], ["place"], [None, "S", None]], ids=["none", "one", "nulls among others"])
async def test_words_arrive_as_they_were(
    words: Sequence[str | None], connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    assert await connection.fetchval("SELECT $1::text::text[]", array_of_words(words)) == words


async def test_arrays_of_unequal_lengths_arrive_as_they_were(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    rows: list[list[int]] = [[1, -2, LARGEST], [], [4]]
    texts = await connection.fetchval("SELECT $1::text::text[]", array_of_arrays(rows))
    assert [await connection.fetchval("SELECT $1::text::bigint[]", text) for text in texts] == rows
