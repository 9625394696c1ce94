"""The OpenAPI document keeps its word: schemathesis makes calls out of it, and holds the answers to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from fakes import Callers, FakeClock, as_caller
from humanuser import By, Caller, HumanUserAdded
from humanuser.testing import TransparentVault
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of

CALLERS = Callers()
GOOD: dict[str, Any] = {  # Any: JSON
    "PUT /auth/v1/users/me/phone": {"phone": "+41791234568"},
    "PUT /management/v1/users/{user_id}/phone": {"phone": "+41791234568", "isPhoneVerified": True},
    "POST /v2/users/{user_id}/phone": {"phone": "+41791234568", "returnCode": {}},
    "POST /management/v1/users/human": {"userName": "bob", "profile": {"firstName": "Bob", "lastName": "Byte"}},
}
"""Bodies that are taken; those that the document lets one think of mostly are not."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
]
"""Not that bad requests are refused: protobuf's JSON forgives much, such as null and numbers in place of names."""
EXAMPLES = max(min(settings().max_examples, 60), settings().max_examples // 5)


class Api:
    """Calls that the document describes, and users to make them."""

    def __init__(
        self,
        calls: SearchStrategy[Case[Any]],  # Any: of whatever document
        application: Application,
        clock: FakeClock,
    ) -> None:
        self.calls = calls
        self._application = application
        self._clock = clock
        self._numbers = itertools.count()

    def new_user(self) -> str:
        """The id of a user with a phone and a code for it, who may change all users and has the id as a token."""
        user_id = f"user{next(self._numbers)}"
        by, added = By("admin", organization="org1"), HumanUserAdded(user_name="ada")
        self._application.commands.add_human_user(user_id, added, phone="+41791234567", by=by)
        self._clock.advance(minutes=1)
        CALLERS[user_id] = Caller(user_id, "org1", permissions_of(["ORG_OWNER"], "org1"))
        return user_id


@pytest.fixture(scope="module", params=list(GenerationMode))
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """With calls as the document wants them, and with such as it does not."""
    path, clock = tmp_path_factory.mktemp("api") / "test.sqlite", FakeClock()
    with Application(path, TransparentVault(), clock=clock) as application:
        service = PhoneService(application.commands, application.find_user, application.new_user_id)
        schema = schemathesis.openapi.from_asgi("/openapi.json", http_app(service, CALLERS))
        yield Api(schema.as_strategy(request.param), application, clock)


# schemathesis reads all of the code at first, and throws many calls away
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data(), about_the_caller=st.booleans(), good=st.booleans())
def test_answers_are_as_the_document_says(api: Api, data: st.DataObject, about_the_caller: bool, good: bool) -> None:
    user_id = api.new_user()
    case = data.draw(api.calls)
    if about_the_caller and "user_id" in case.path_parameters:
        case.path_parameters["user_id"] = user_id
        case.headers.pop("x-zitadel-orgid", None)
    if good:
        case.body = GOOD.get(case.operation.label, case.body)

    answer = case.call_and_validate(headers=as_caller(user_id), checks=CHECKS)

    event(f"{case.operation.label}: {answer.status_code}")
