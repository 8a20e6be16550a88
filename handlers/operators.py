"""Operators: signing in. Their accounts are made on the server's own console, never over HTTP.

What lives here: their endpoints. What must not: anything that an account's or a partner's token opens.
"""

from aiohttp import web

from auth.tokens import Purpose
from handlers.context import DATABASE, PASSWORDS
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.errors import InvalidCredentials
from handlers.requests import issue_token, json_response, read_json
from handlers.schemas.operators import OperatorSignInSchema
from handlers.sign_in import begin_sign_in
from storage import operators


@endpoint(
    Endpoint(
        summary="Sign in as an operator",
        tag="Operators",
        request=OperatorSignInSchema,
        answers={
            200: Answer(
                "A token of its own purpose",
                {"message": "Login successful", "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."},
            ),
            400: Answer("A field is missing", {"message": "Validation failed", "errors": ["name is required"]}),
            401: Answer("No such operator, or another password", {"message": "Invalid credentials"}),
            429: Answer("Too many tries", {"message": "Too many requests; try again in 900 seconds"}),
        },
    )
)
async def sign_in(request: web.Request) -> web.Response:
    """Exchange an operator's name and password for a token that opens operators' endpoints only."""
    asked = await read_json(request, OperatorSignInSchema)
    found = await operators.find_credentials(request.app[DATABASE], asked.name)
    attempt = await begin_sign_in(request, f"operator:{asked.name}")
    is_right = await request.app[PASSWORDS].check(asked.password, found.password_hash if found else None)
    if found is None or not is_right:
        raise InvalidCredentials
    await attempt.succeed()
    token = issue_token(request.app, Purpose.OPERATOR, found.operator_id, found.token_generation)
    return json_response({"message": "Login successful", "token": token})
