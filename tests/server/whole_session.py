"""A session with a real server in which every secret that there is gets used.

What lives here: the requests, and the secrets by name. What must not: what they may show up in (test_logs.py).
"""

import asyncio
import re
from typing import Any

import aiohttp

from tests.drills.server import DrillServer

PHONE = "9812345670"
PARTNER = {
    "ownerName": "Ravi",
    "ownerContactNumber": "9812345671",
    "email": "ravi@example.in",
    "phoneNumber": "9812345672",
    "password": "monsoon-and-dust",
    "companyName": "Ravi Transport",
    "companyAddress": "Bengaluru",
    "gstNumber": "29ABCDE1234F1Z5",
}


async def talk(server: DrillServer) -> dict[str, str]:
    """Use everything once; the secrets, by what they are."""
    async with aiohttp.ClientSession(server.url) as session:
        caller = _Caller(session)
        secrets = {
            **await _trade(caller),
            **await _be_a_partner(caller),
            **await _operate(caller, server),
        }
    await _send_nonsense(server, secrets["token"])
    return secrets


class _Caller:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, path: str, form: Any, status: int = 200, **headers: str) -> dict[str, Any]:
        async with self._session.post(path, json=form, headers=headers) as response:
            body: dict[str, Any] = await response.json()
            assert response.status == status, (path, body)
            return body

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(path, params=query) as response:
            assert response.status == 200, (path, await response.text())
            return await response.json()

    async def newest(self, pattern: str) -> str:
        """What the newest message holds of a pattern."""
        [message, *_] = await self.get("/dev/outbox")
        found = re.search(pattern, message["body"])
        assert found, message
        return found[1]

    async def otp(self) -> str:
        return await self.newest(r"\b([0-9]{6})\b")


async def _trade(caller: _Caller) -> dict[str, str]:
    password, wrong, changed, reset = "sunshine-and-rain", "moonlight-and-snow", "thunder-and-hail", "frost-and-fog"
    await caller.post("/sendotp", {"PhoneNo": PHONE})
    otp = await caller.otp()
    form = {"PhoneNo": PHONE, "password": password, "connectionId": "C-1", "accountType": "prosumer"}
    await caller.post("/signup", {**form, "otp": "000000" if otp != "000000" else "000001", "username": "Asha"}, 401)
    first = (await caller.post("/signup", {**form, "otp": otp, "username": "Asha"}))["token"]
    token = (await caller.post("/signin", form))["token"]
    await caller.post("/signin", {**form, "password": wrong}, 401)
    await caller.post("/signin", [form], 400)
    arr = {"arr": [{"timeslot": "10:00-10:15", "volume": "1", "price": "4.25"}]}
    await caller.post("/placebid/dayahead", arr, Authorization=f"Bearer {token}")
    await caller.post("/placebid/dayahead", {"arr": []}, 400, Authorization=token)
    await caller.post("/placebid/dayahead", arr, 401, Authorization=f"{token}x")
    refreshed = (await caller.post("/token/refresh", {}, Authorization=token))["token"]
    await caller.post("/signout", {}, Authorization=refreshed)
    change = {"oldPassword": password, "newPassword": changed}
    last = (await caller.post("/changepassword", change, Authorization=token))["token"]
    await caller.post("/sendotp", {"PhoneNo": PHONE, "purpose": "reset"})
    second = await caller.otp()
    forgot = {"PhoneNo": PHONE, "accountType": "prosumer", "otp": second, "newPassword": reset}
    await caller.post("/resetpassword", forgot)
    return {
        "OTP": otp,
        "OTP of the reset": second,
        "password": password,
        "wrong password": wrong,
        "changed password": changed,
        "reset password": reset,
        "first token": first,
        "token": token,
        "refreshed token": refreshed,
        "last token": last,
    }


async def _be_a_partner(caller: _Caller) -> dict[str, str]:
    await caller.post("/api/shipper/register", PARTNER, 201)
    await caller.post("/api/shipper/register", PARTNER, 400)
    login = {"email": PARTNER["email"], "password": PARTNER["password"]}
    token = (await caller.post("/api/shipper/login", login))["token"]
    await caller.post("/api/shipper/login", {**login, "password": "hail-and-dust"}, 401)
    await caller.post("/api/validate/send-otp", {"mobileNumber": "9812345671"})
    otp = await caller.otp()
    await caller.post("/api/validate/verify-otp", {"mobileNumber": "9812345671", "otp": otp})
    asked = {"gstNumber": PARTNER["gstNumber"], "email": PARTNER["email"], "userType": "shipper"}
    await caller.post("/api/email/send-email-link", asked)
    link = await caller.newest(r"/verify-email\?token=([A-Za-z0-9_.-]+)")
    await caller.get("/api/email/verify-email-link", token=link)
    return {
        "partner's password": PARTNER["password"],
        "partner's wrong password": "hail-and-dust",
        "partner's token": token,
        "OTP of the partner": otp,
        "link's token": link,
    }


async def _operate(caller: _Caller, server: DrillServer) -> dict[str, str]:
    said = await server.command("operator", "create", "control-room")
    found = re.search(r"Password \(shown only now\): (\S+)\n", said.out)
    assert found, said
    signed_in = await caller.post("/operator/signin", {"name": "control-room", "password": found[1]})
    await caller.post("/operator/signin", {"name": "control-room", "password": "typhoon-and-mud"}, 401)
    return {
        "operator's password": found[1],
        "operator's wrong password": "typhoon-and-mud",
        "operator's token": signed_in["token"],
    }


async def _send_nonsense(server: DrillServer, token: str) -> None:
    """What no client library would send, each with a token beside it."""
    for head in (
        "GET /me HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {}\r\n\r\n",
        "GET /me?token={} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "NONSENSE {}\r\n\r\n",
        # A line break that could begin a line of its own in a log.
        'GET /%0d%0a%7B"event":"forged","token":"{}" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        "GET /{} HTTP/9.9\r\n\r\n",
        "GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\x00\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{}",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head.replace("{}", token).encode())
        writer.write_eof()
        async with asyncio.timeout(15):
            await reader.read()
        writer.close()
        await writer.wait_closed()
