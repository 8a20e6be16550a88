"""Bodies of answers that one example cannot describe: values that may be null or left out, tuples, words of a list.

What lives here: schemas for the documentation only. What must not: making an answer - handlers do that, and the tests
hold the two together.
"""

from typing import Any

from marshmallow import EXCLUDE, Schema, fields


class AnswerSchema(Schema):
    """An object of an answer. A later version may add to it."""

    class Meta:
        unknown = EXCLUDE


def _text(
    description: str | None = None, *, is_nullable: bool = False, name: str | None = None, **shape: Any
) -> fields.String:
    metadata = {**shape, **({"description": description} if description else {})}
    return fields.String(required=True, allow_none=is_nullable, data_key=name, metadata=metadata)


class BidSchema(AnswerSchema):
    id = fields.Integer(required=True)
    deliveryDate = _text(format="date")
    timeslot = _text("A slot like 10:00-10:15; the last one is 23:45-24:00")
    side = _text(enum=["sell", "buy"])
    volume = _text("kWh")
    price = _text("INR per kWh")
    status = _text(enum=["open", "withdrawn", "cleared", "partly cleared", "rejected"])
    filledVolume = _text("kWh")
    clearingPrice = _text(
        "INR per kWh; null until the slot is cleared, where nothing cleared, and of a withdrawn bid", is_nullable=True
    )


class PlacedBidsSchema(AnswerSchema):
    message = _text()
    deliveryDate = _text(format="date")
    seq = fields.Integer(required=True, metadata={"description": "Of the last event of this request"})
    bids = fields.List(fields.Nested(BidSchema), required=True)


class ChangedBidSchema(AnswerSchema):
    message = _text()
    seq = fields.Integer(required=True, metadata={"description": "Of the event of this request"})
    bid = fields.Nested(BidSchema, required=True)


class PageOfBidsSchema(AnswerSchema):
    bids = fields.List(fields.Nested(BidSchema), required=True)
    next = fields.Integer(
        required=True, allow_none=True, metadata={"description": "`after` of the next page; null on the last one"}
    )


class ClearedSlotSchema(AnswerSchema):
    timeslot = _text("A slot like 10:00-10:15; the last one is 23:45-24:00")
    clearingPrice = _text("INR per kWh; null where nothing cleared", is_nullable=True)
    low = _text("INR per kWh; the lowest price at which as much clears", is_nullable=True)
    high = _text("INR per kWh; the highest price at which as much clears", is_nullable=True)
    clearedVolume = _text("kWh")
    buyVolume = _text("kWh asked for when the gate closed")
    sellVolume = _text("kWh offered when the gate closed")
    buyBids = fields.Integer(required=True)
    sellBids = fields.Integer(required=True)


class ResultTotalsSchema(AnswerSchema):
    clearedVolume = _text("kWh")
    turnover = _text("INR, exact")
    buyVolume = _text("kWh")
    sellVolume = _text("kWh")


class ResultsOfDaySchema(AnswerSchema):
    deliveryDate = _text(format="date")
    state = _text(enum=["cleared"])
    seq = fields.Integer(required=True, metadata={"description": "Of the event that announced the results"})
    clearedAt = _text(format="date-time")
    priceRule = _text(enum=["midpoint", "seller", "buyer"])
    slots = fields.List(fields.Nested(ClearedSlotSchema), required=True, metadata={"description": "All 96, in order"})
    totals = fields.Nested(ResultTotalsSchema, required=True)


class TradeSchema(AnswerSchema):
    id = fields.Integer(required=True, metadata={"description": "Of the bid"})
    timeslot = _text("A slot like 10:00-10:15; the last one is 23:45-24:00")
    side = _text(enum=["sell", "buy"])
    volume = _text("kWh that the bid was filled with")
    price = _text("INR per kWh, the slot's clearing price")
    amount = _text("INR, price times volume, exact")


class TradeTotalsSchema(AnswerSchema):
    volume = _text("kWh")
    amount = _text("INR, exact")


class PageOfTradesSchema(AnswerSchema):
    deliveryDate = _text(format="date")
    trades = fields.List(fields.Nested(TradeSchema), required=True)
    totals = fields.Nested(
        TradeTotalsSchema, required=True, metadata={"description": "Of the day, or of the slot if one is named"}
    )
    next = fields.Integer(
        required=True, allow_none=True, metadata={"description": "`after` of the next page; null on the last one"}
    )


class _ReadingValuesSchema(AnswerSchema):
    """What a meter said of a slot: a prosumer's has the first two, a consumer's the third."""

    solarGeneration = _text("kWh; of prosumers")
    netEnergy = _text("kWh; of prosumers")
    energyConsumption = _text("kWh; of consumers")
    revision = fields.Integer(required=True, metadata={"description": "1, and one more with each correction"})
    recordedAt = _text(format="date-time")

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """The values depend on the kind of account."""
        field_obj.required = field_name not in ("solarGeneration", "netEnergy", "energyConsumption")


class RecordedReadingSchema(_ReadingValuesSchema):
    timeslot = _text("A slot like 10:00-10:15; the last one is 23:45-24:00")
    deviation = _text("kWh, metered minus cleared volume; null until the day is cleared", is_nullable=True)


class EarlierReadingSchema(_ReadingValuesSchema):
    """What was reported for a slot before it was corrected."""


class CorrectedReadingSchema(RecordedReadingSchema):
    """A reading with what it was before."""

    history = fields.List(fields.Nested(EarlierReadingSchema), required=True)


class RecordedReadingsSchema(AnswerSchema):
    message = _text()
    date = _text(format="date")
    readings = fields.List(fields.Nested(RecordedReadingSchema), required=True)


class ReadingsOfDaySchema(AnswerSchema):
    date = _text(format="date")
    readings = fields.List(fields.Nested(CorrectedReadingSchema), required=True)


class _SetupColumnsSchema(AnswerSchema):
    solarCapacity = _text("kW", is_nullable=True)
    solarBrand = _text(is_nullable=True)
    # A schema has a method of the name that this has in JSON.
    load_kw = _text("kW", name="load")
    demand = _text("kW", is_nullable=True)
    city = _text()
    state = _text(is_nullable=True)
    pincode = _text()
    gps = _text("Latitude and longitude in degrees")
    year = fields.Integer(required=True)
    tilt = _text("Degrees", is_nullable=True)
    azimuth = _text("Degrees", is_nullable=True)


class RecordedSetupSchema(_SetupColumnsSchema):
    """The set-up as it was recorded."""


class AccountSchema(AnswerSchema):
    id = fields.Integer(required=True)
    accountType = _text(enum=["prosumer", "consumer"])
    connectionId = _text()
    username = _text()
    PhoneNo = _text("As it was given")
    createdAt = _text(format="date-time")
    setup = fields.Nested(RecordedSetupSchema, required=True, allow_none=True)


class UserColumnsSchema(_SetupColumnsSchema):
    """Account and set-up in one; what the set-up holds is left out before it was made."""

    username = _text()
    PhoneNo = _text()
    connectionId = _text()
    accountType = _text(enum=["prosumer", "consumer"])

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Only the account's own columns are always there."""
        field_obj.required = field_name in ("username", "PhoneNo", "connectionId", "accountType")


class UserDataSchema(AnswerSchema):
    message = fields.Nested(UserColumnsSchema, required=True)


class TransactionSchema(AnswerSchema):
    TimeSlot = _text("A slot like 10:00-10:15")
    Volume = _text("kWh")
    Price = _text("INR per kWh")


class TransactionsSchema(AnswerSchema):
    transactions = fields.List(fields.Nested(TransactionSchema), required=True)


class TicksSchema(AnswerSchema):
    price = _text("INR per kWh")
    volume = _text("kWh")


def _tuple(description: str, *shapes: dict[str, Any]) -> fields.List[Any]:
    """A list of arrays whose places have a meaning each."""
    item = fields.Raw(
        metadata={"type": "array", "minItems": len(shapes), "maxItems": len(shapes), "prefixItems": list(shapes)}
    )
    return fields.List(item, required=True, metadata={"description": description})


_WHOLE = {"type": "integer"}


class BookSnapshotSchema(AnswerSchema):
    """The feed's `snap` message."""

    t = _text(enum=["snap"])
    ch = _text("The feed's channel of this book")
    ep = _text("Names one history of the book; where it changes, start anew")
    seq = fields.Integer(required=True, metadata={"description": "Of the last event in it"})
    gate = _text("When bidding ends", format="date-time")
    state = _text(enum=["open", "closed", "cleared"])
    ticks = fields.Nested(TicksSchema, required=True)
    lv = _tuple(
        "Levels: slot, side (B or S), price in ticks, volume in ticks, number of bids",
        _WHOLE,
        {"type": "string", "enum": ["B", "S"]},
        _WHOLE,
        _WHOLE,
        _WHOLE,
    )
    ind = _tuple("What a slot would clear now: slot, price in ticks, volume in ticks", _WHOLE, _WHOLE, _WHOLE)
    crc = fields.Integer(required=True, metadata={"description": "CRC-32 over the levels, see the feed's protocol"})


class DocumentSchema(AnswerSchema):
    """OpenAPI has a schema of its own for what stands in it."""

    openapi = _text()
    info = fields.Dict(required=True)
    servers = fields.List(fields.Dict(), required=True)
    tags = fields.List(fields.Dict(), required=True)
    paths = fields.Dict(required=True)
    components = fields.Dict(required=True)


class FeedDocumentSchema(AnswerSchema):
    """AsyncAPI has a schema of its own for what stands in it."""

    asyncapi = _text()
    info = fields.Dict(required=True)
    defaultContentType = _text()
    servers = fields.Dict(required=True)
    channels = fields.Dict(required=True)
    operations = fields.Dict(required=True)
    components = fields.Dict(required=True)
