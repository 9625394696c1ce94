"""Request bodies are read as protobuf's JSON is read."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser_adapters.api import CallError, Code
from humanuser_adapters.api.json_coding import decode
from humanuser_adapters.api.protos.management_pb2 import AddHumanUserRequest, UpdateHumanPhoneRequest
from humanuser_adapters.api.protos.user_v2_pb2 import SetPhoneRequest

READ = UpdateHumanPhoneRequest(phone="+41791234567", is_phone_verified=True)


@pytest.mark.parametrize("body", [b"", b" \t\r\n", b"{}"])
def test_an_empty_or_blank_body_is_an_empty_message(body: bytes) -> None:
    assert decode(body, UpdateHumanPhoneRequest) == UpdateHumanPhoneRequest()


@pytest.mark.parametrize(
    "body",
    [
        b'{"phone": "+41791234567", "isPhoneVerified": true}',
        b'{"phone": "+41791234567", "is_phone_verified": true}',
        b' \r\n\t{"isPhoneVerified":true,"phone":"\\u002b41791234567"} ',
    ],
)
def test_fields_are_read_under_both_of_their_names(body: bytes) -> None:
    assert decode(body, UpdateHumanPhoneRequest) == READ


@pytest.mark.parametrize("name", ["Phone", "PHONE", "IsPhoneVerified", "isphoneverified"])
def test_names_are_case_sensitive(name: str) -> None:
    assert decode(f'{{"{name}": 1}}'.encode(), UpdateHumanPhoneRequest) == UpdateHumanPhoneRequest()


@pytest.mark.parametrize(
    "unknown",
    [
        b'"x": 1, "x": 2',
        b'"x": {"phone": 1, "phone": 2}',
        b'"x": {"y": [null, true, "\\ud83d\\ude00", -1.5e300]}',
        b'"x": ' + b"9" * 5000,
        b'"x": -' + b"9" * 5000,
        b'"x": 1e999',
        b'"x": "\\\\ud800"',
    ],
)
def test_unknown_members_are_ignored(unknown: bytes) -> None:
    body = b'{"phone": "+41791234567", ' + unknown + b', "isPhoneVerified": true}'

    assert decode(body, UpdateHumanPhoneRequest) == READ


@pytest.mark.parametrize("rest", [b"x", b"}", b' {"phone": 1}', b"\x00", b'"'])
def test_what_follows_the_first_value_is_not_read(rest: bytes) -> None:
    body = b'{"phone": "+41791234567", "isPhoneVerified": true}' + rest

    assert decode(body, UpdateHumanPhoneRequest) == READ


def test_null_leaves_a_field_unset() -> None:
    body = b'{"phone": null, "isPhoneVerified": null, "userId": null}'

    assert decode(body, UpdateHumanPhoneRequest) == UpdateHumanPhoneRequest()


def test_the_overriding_field_wins() -> None:
    read = decode(b'{"userId": "eve", "phone": "+41791234567"}', UpdateHumanPhoneRequest, user_id="ada")

    assert read == UpdateHumanPhoneRequest(user_id="ada", phone="+41791234567")


def test_messages_within_messages_are_read_alike() -> None:
    body = b'{"profile": {"firstName": "Ada", "last_name": null, "x": 1}, "phone": {"phone": "+41791234567"}}'

    read = decode(body, AddHumanUserRequest)

    assert read == AddHumanUserRequest(profile={"first_name": "Ada"}, phone={"phone": "+41791234567"})


@pytest.mark.parametrize(("gender", "number"), [('"GENDER_FEMALE"', 1), ("3", 3), ("null", 0)])
def test_an_enum_is_read_by_name_and_by_number(gender: str, number: int) -> None:
    read = decode(f'{{"profile": {{"gender": {gender}}}}}'.encode(), AddHumanUserRequest)

    assert read.profile.gender == number


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'["phone"]',
        b'"phone"',
        b"1",
        b"true",
        b"{",
        b"}",
        b'{"phone"}',
        b'{"phone": "+41791234567"',
        b'{"phone": "+41791234567",}',
        b"{'phone': '+41791234567'}",
        b'{phone: "+41791234567"}',
        b'{"x": nul}',
        b'{"x": 01}',
        b'{"x": NaN}',
        b'{"x": Infinity}',
        b'{"x": -Infinity}',
        b'{"x": "a\nb"}',
        b'{"x": "\x00"}',
        b'{"x": "\\x"}',
        b'{"x": "\\ud800"}',
        b'{"x": ["\\udc00\\ud800"]}',
        b'{"\\ud800": 1}',
        b'{"x": "\xff"}',
        b'{"x": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"phone": "+41791234567"}',
        '{"phone": "+41791234567"}'.encode("utf-16"),
        '{"phone": "+41791234567"}'.encode("utf-16-le"),
        '\u00a0{"phone": "+41791234567"}'.encode(),
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000,
        b'{"phone": ' + b"[" * 100_000,
    ],
)
def test_what_is_not_one_well_formed_object_is_refused(body: bytes) -> None:
    with pytest.raises(CallError) as refused:
        decode(body, UpdateHumanPhoneRequest)

    assert (refused.value.code, refused.value.error_id) == (Code.INVALID_ARGUMENT, None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"phone": "1", "phone": "1"}',
        b'{"isPhoneVerified": true, "is_phone_verified": true}',
        b'{"is_phone_verified": true, "is_phone_verified": true}',
        b'{"phone": null, "phone": "1"}',
        b'{"userId": "a", "user_id": "a"}',
    ],
)
def test_a_field_that_is_there_twice_is_refused(body: bytes) -> None:
    with pytest.raises(CallError, match="is there twice") as refused:
        decode(body, UpdateHumanPhoneRequest, user_id="ada")

    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("body", [b'{"sendCode": {}, "isVerified": true}', b'{"isVerified": true, "returnCode": {}}'])
def test_two_of_which_one_excludes_the_other_are_refused(body: bytes) -> None:
    with pytest.raises(CallError, match="excludes another that is there") as refused:
        decode(body, SetPhoneRequest)

    assert refused.value.code is Code.INVALID_ARGUMENT


def test_one_that_is_null_excludes_nothing() -> None:
    assert decode(b'{"sendCode": null, "isVerified": true}', SetPhoneRequest) == SetPhoneRequest(is_verified=True)


def test_a_field_that_is_twice_in_a_message_within_is_refused() -> None:
    with pytest.raises(CallError, match="field first_name is there twice"):
        decode(b'{"profile": {"firstName": "Ada", "first_name": "Ada"}}', AddHumanUserRequest)


@pytest.mark.parametrize(
    ("member", "field"),
    [
        ('"phone": 41791234567', "phone"),
        ('"phone": true', "phone"),
        ('"phone": ["+41791234567"]', "phone"),
        ('"phone": {"phone": "+41791234567"}', "phone"),
        ('"isPhoneVerified": "true"', "is_phone_verified"),
        ('"isPhoneVerified": 1', "is_phone_verified"),
        ('"isPhoneVerified": {}', "is_phone_verified"),
        ('"userId": 1', "user_id"),
    ],
)
def test_a_wrong_type_is_refused_without_repeating_the_value(member: str, field: str) -> None:
    with pytest.raises(CallError, match=f"invalid value for field {field}: ") as refused:
        decode(f"{{{member}}}".encode(), UpdateHumanPhoneRequest, user_id="ada")

    assert refused.value.code is Code.INVALID_ARGUMENT
    assert "41791234567" not in refused.value.text


@pytest.mark.parametrize(
    "member",
    [
        '"profile": "Ada"',
        '"profile": ["Ada"]',
        '"profile": {"firstName": 1}',
        '"profile": {"gender": "GENDER_X"}',
        '"profile": {"gender": true}',
        '"profile": {"gender": 2147483648}',
        '"profile": {"gender": 1.0}',
        '"profile": {"gender": ' + "1" * 5000 + "}",
        '"phone": "+41791234567"',
        '"phone": []',
    ],
)
def test_a_wrong_type_in_a_message_within_is_refused(member: str) -> None:
    with pytest.raises(CallError, match="invalid value for field ") as refused:
        decode(f"{{{member}}}".encode(), AddHumanUserRequest)

    assert refused.value.code is Code.INVALID_ARGUMENT


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["phone", "userId", "profile", "x"]), inner),
)


@given(
    st.binary()
    | st.text().map(str.encode)
    | _JSON.map(json.dumps).map(str.encode)
    | st.binary().map(lambda value: b'{"phone": "' + value + b'"}')
)
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for kind in (UpdateHumanPhoneRequest, AddHumanUserRequest):
        with contextlib.suppress(CallError):
            assert isinstance(decode(body, kind), kind)
