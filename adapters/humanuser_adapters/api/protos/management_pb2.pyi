from google.api import annotations_pb2 as _annotations_pb2
from humanuser_adapters.api.protos import object_pb2 as _object_pb2
from humanuser_adapters.api.protos import rules_pb2 as _rules_pb2
from humanuser_adapters.api.protos import user_pb2 as _user_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AddHumanUserRequest(_message.Message):
    __slots__ = ("user_name", "profile", "email", "phone")
    class Profile(_message.Message):
        __slots__ = ("first_name", "last_name", "nick_name", "display_name", "preferred_language", "gender")
        FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
        LAST_NAME_FIELD_NUMBER: _ClassVar[int]
        NICK_NAME_FIELD_NUMBER: _ClassVar[int]
        DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
        PREFERRED_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
        GENDER_FIELD_NUMBER: _ClassVar[int]
        first_name: str
        last_name: str
        nick_name: str
        display_name: str
        preferred_language: str
        gender: _user_pb2.Gender
        def __init__(self, first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., nick_name: _Optional[str] = ..., display_name: _Optional[str] = ..., preferred_language: _Optional[str] = ..., gender: _Optional[_Union[_user_pb2.Gender, str]] = ...) -> None: ...
    class Email(_message.Message):
        __slots__ = ("email",)
        EMAIL_FIELD_NUMBER: _ClassVar[int]
        email: str
        def __init__(self, email: _Optional[str] = ...) -> None: ...
    class Phone(_message.Message):
        __slots__ = ("phone", "is_phone_verified")
        PHONE_FIELD_NUMBER: _ClassVar[int]
        IS_PHONE_VERIFIED_FIELD_NUMBER: _ClassVar[int]
        phone: str
        is_phone_verified: bool
        def __init__(self, phone: _Optional[str] = ..., is_phone_verified: bool = ...) -> None: ...
    USER_NAME_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    user_name: str
    profile: AddHumanUserRequest.Profile
    email: AddHumanUserRequest.Email
    phone: AddHumanUserRequest.Phone
    def __init__(self, user_name: _Optional[str] = ..., profile: _Optional[_Union[AddHumanUserRequest.Profile, _Mapping]] = ..., email: _Optional[_Union[AddHumanUserRequest.Email, _Mapping]] = ..., phone: _Optional[_Union[AddHumanUserRequest.Phone, _Mapping]] = ...) -> None: ...

class AddHumanUserResponse(_message.Message):
    __slots__ = ("user_id", "details")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    details: _object_pb2.ObjectDetails
    def __init__(self, user_id: _Optional[str] = ..., details: _Optional[_Union[_object_pb2.ObjectDetails, _Mapping]] = ...) -> None: ...

class GetHumanPhoneRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class GetHumanPhoneResponse(_message.Message):
    __slots__ = ("details", "phone")
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    details: _object_pb2.ObjectDetails
    phone: _user_pb2.Phone
    def __init__(self, details: _Optional[_Union[_object_pb2.ObjectDetails, _Mapping]] = ..., phone: _Optional[_Union[_user_pb2.Phone, _Mapping]] = ...) -> None: ...

class UpdateHumanPhoneRequest(_message.Message):
    __slots__ = ("user_id", "phone", "is_phone_verified")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    IS_PHONE_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    phone: str
    is_phone_verified: bool
    def __init__(self, user_id: _Optional[str] = ..., phone: _Optional[str] = ..., is_phone_verified: bool = ...) -> None: ...

class UpdateHumanPhoneResponse(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: _object_pb2.ObjectDetails
    def __init__(self, details: _Optional[_Union[_object_pb2.ObjectDetails, _Mapping]] = ...) -> None: ...

class RemoveHumanPhoneRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class RemoveHumanPhoneResponse(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: _object_pb2.ObjectDetails
    def __init__(self, details: _Optional[_Union[_object_pb2.ObjectDetails, _Mapping]] = ...) -> None: ...

class ResendHumanPhoneVerificationRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ResendHumanPhoneVerificationResponse(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: _object_pb2.ObjectDetails
    def __init__(self, details: _Optional[_Union[_object_pb2.ObjectDetails, _Mapping]] = ...) -> None: ...
