from google.api import annotations_pb2 as _annotations_pb2
from humanuser_adapters.api.protos import object_v2_pb2 as _object_v2_pb2
from humanuser_adapters.api.protos import rules_pb2 as _rules_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SendPhoneVerificationCode(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReturnPhoneVerificationCode(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetPhoneRequest(_message.Message):
    __slots__ = ("user_id", "phone", "send_code", "return_code", "is_verified")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    SEND_CODE_FIELD_NUMBER: _ClassVar[int]
    RETURN_CODE_FIELD_NUMBER: _ClassVar[int]
    IS_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    phone: str
    send_code: SendPhoneVerificationCode
    return_code: ReturnPhoneVerificationCode
    is_verified: bool
    def __init__(self, user_id: _Optional[str] = ..., phone: _Optional[str] = ..., send_code: _Optional[_Union[SendPhoneVerificationCode, _Mapping]] = ..., return_code: _Optional[_Union[ReturnPhoneVerificationCode, _Mapping]] = ..., is_verified: bool = ...) -> None: ...

class SetPhoneResponse(_message.Message):
    __slots__ = ("details", "verification_code")
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_CODE_FIELD_NUMBER: _ClassVar[int]
    details: _object_v2_pb2.Details
    verification_code: str
    def __init__(self, details: _Optional[_Union[_object_v2_pb2.Details, _Mapping]] = ..., verification_code: _Optional[str] = ...) -> None: ...

class RemovePhoneRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class RemovePhoneResponse(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: _object_v2_pb2.Details
    def __init__(self, details: _Optional[_Union[_object_v2_pb2.Details, _Mapping]] = ...) -> None: ...

class ResendPhoneCodeRequest(_message.Message):
    __slots__ = ("user_id", "send_code", "return_code")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SEND_CODE_FIELD_NUMBER: _ClassVar[int]
    RETURN_CODE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    send_code: SendPhoneVerificationCode
    return_code: ReturnPhoneVerificationCode
    def __init__(self, user_id: _Optional[str] = ..., send_code: _Optional[_Union[SendPhoneVerificationCode, _Mapping]] = ..., return_code: _Optional[_Union[ReturnPhoneVerificationCode, _Mapping]] = ...) -> None: ...

class ResendPhoneCodeResponse(_message.Message):
    __slots__ = ("details", "verification_code")
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_CODE_FIELD_NUMBER: _ClassVar[int]
    details: _object_v2_pb2.Details
    verification_code: str
    def __init__(self, details: _Optional[_Union[_object_v2_pb2.Details, _Mapping]] = ..., verification_code: _Optional[str] = ...) -> None: ...

class VerifyPhoneRequest(_message.Message):
    __slots__ = ("user_id", "verification_code")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_CODE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    verification_code: str
    def __init__(self, user_id: _Optional[str] = ..., verification_code: _Optional[str] = ...) -> None: ...

class VerifyPhoneResponse(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: _object_v2_pb2.Details
    def __init__(self, details: _Optional[_Union[_object_v2_pb2.Details, _Mapping]] = ...) -> None: ...
