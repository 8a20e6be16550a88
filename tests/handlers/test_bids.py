from tests.conftest import Client
from tests.factories import bid, place, sign_up


async def test_a_household_signs_up_places_changes_and_withdraws(client: Client) -> None:
    seller = await sign_up(client)
    buyer = await sign_up(client, "consumer")
    placed = await place(client, seller, bid("10:00-11:00", "1", "4.25"))
    assert placed["seq"] == 4
    assert [b["timeslot"] for b in placed["bids"]] == ["10:00-10:15", "10:15-10:30", "10:30-10:45", "10:45-11:00"]
    await place(client, buyer, bid("10:00", "0.5", "5"))
    r = await client.get("/book/dayahead", headers=buyer.headers)
    book = await r.json()
    assert r.status == 200, book
    first = placed["bids"][0]["id"]
    r = await client.patch(f"/bids/dayahead/{first}", json={"price": "4.00"}, headers=seller.headers)
    assert (await r.json())["seq"] == 6
    r = await client.delete(f"/bids/dayahead/{first}", headers=seller.headers)
    assert (await r.json())["seq"] == 7
    r = await client.get("/bids/dayahead", headers=seller.headers)
    print(await r.json())
    r = await client.get("/book/dayahead", headers=buyer.headers)
    print(await r.json())
