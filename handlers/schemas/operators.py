"""Requests of operators."""

from dataclasses import dataclass

from handlers.schemas.base import RequestSchema
from handlers.schemas.fields import Password, Text


@dataclass(frozen=True, slots=True)
class OperatorSignIn:
    name: str
    password: str


class OperatorSignInSchema(RequestSchema[OperatorSignIn]):
    target = OperatorSignIn
    name = Text(max_length=100, metadata={"example": "control-room"})
    password = Password(is_new=False, metadata={"example": "the-password-that-was-printed"})
