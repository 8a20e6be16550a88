"""Smart-meter readings: reporting them, and seeing one's own with how far they are from what was cleared.

What lives here: their endpoints. What must not: other people's readings in any form.
"""

from typing import Any

from aiohttp import web

from auth.tokens import Purpose
from handlers.account_answers import NO_TOKEN
from handlers.body import read_object
from handlers.context import CLOCK, DATABASE, MARKET, SESSION
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import InvalidToken
from handlers.requests import json_response, read_query, reading_of
from handlers.schemas.answers import ReadingsOfDaySchema, RecordedReadingsSchema
from handlers.schemas.base import InvalidRequest
from handlers.schemas.meter_report import MeterRules
from handlers.schemas.readings import ReadingsQuerySchema, ReadingView, ReportSchema, read_report
from market.slots import format_slot
from storage import readings as stored_readings
from storage.errors import AccountGone, TooManyCorrections

_READING: dict[str, Any] = {
    "timeslot": "10:00-10:15",
    "solarGeneration": "1.200",
    "netEnergy": "0.800",
    "deviation": "-0.200",
    "revision": 2,
    "recordedAt": "2026-11-21T05:02:10.417Z",
}
_EARLIER = {
    "revision": 1,
    "solarGeneration": "1.200",
    "netEnergy": "0.750",
    "recordedAt": "2026-11-21T04:46:02.008Z",
}


@endpoint(
    Endpoint(
        summary="Report smart-meter readings",
        tag="Readings",
        purposes=(Purpose.ACCOUNT,),
        request=ReportSchema,
        answers={
            200: Answer(
                "What holds for the slots of the request, in their order; `deviation` is null until the day is cleared",
                {"message": "Readings recorded", "date": "2026-11-21", "readings": [_READING]},
                RecordedReadingsSchema,
            ),
            400: Answer(
                "A reading is wrong; none was recorded",
                {"message": "Validation failed", "errors": ["readings[0].netEnergy must be a multiple of 0.001"]},
            ),
            401: NO_TOKEN,
        },
    )
)
async def record(request: web.Request) -> web.Response:
    """Record all readings of the request, or none. A prosumer reports `solarGeneration` and `netEnergy`, a consumer
    `energyConsumption`, of slots that have ended. Values that are known already change nothing; others correct them."""
    rules, market = _rules(request), request.app[MARKET]
    document = await read_object(request)
    asked = read_report(document, rules, reading_of(request.app), market.calendar, request.app[CLOCK]())
    try:
        found = await stored_readings.record(
            request.app[DATABASE], request[SESSION].account_id, asked.day, asked.metered
        )
    except TooManyCorrections as fault:
        text = f"takes no other value: {fault.limit} different ones were reported already"
        raise InvalidRequest([f"The reading of {format_slot(slot)} {text}" for slot in fault.slots]) from None
    except AccountGone:
        raise InvalidToken from None
    view = ReadingView(rules)
    shown = [view.show(reading) for reading in found]
    return json_response({"message": "Readings recorded", "date": asked.day.isoformat(), "readings": shown})


@endpoint(
    Endpoint(
        summary="Own smart-meter readings of a day",
        tag="Readings",
        purposes=(Purpose.ACCOUNT,),
        query=ReadingsQuerySchema,
        answers={
            200: Answer(
                "The slots that were reported, in their order; `history` is what each was before, oldest first",
                {"date": "2026-11-21", "readings": [{**_READING, "history": [_EARLIER]}]},
                ReadingsOfDaySchema,
            ),
            400: Answer(
                "A parameter is wrong",
                {"message": "Validation failed", "errors": ["date must be a day like 2026-11-23"]},
            ),
            401: NO_TOKEN,
        },
    )
)
async def list_own(request: web.Request) -> web.Response:
    """The account's readings of the day named, or of today. `deviation` is the metered volume minus the cleared one:
    of a prosumer `netEnergy` minus what it sold, of a consumer `energyConsumption` minus what it bought."""
    asked = read_query(request, ReadingsQuerySchema)
    day = asked.day or request.app[MARKET].calendar.today(request.app[CLOCK]())
    found = await stored_readings.list_own(request.app[DATABASE], request[SESSION].account_id, day)
    return json_response({"date": day.isoformat(), "readings": ReadingView(_rules(request)).show_all(found)})


def _rules(request: web.Request) -> MeterRules:
    limits = request.app[MARKET].bids
    return MeterRules(request[SESSION].kind, limits.volume_tick, limits.max_volume_ticks)
