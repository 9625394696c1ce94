from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
PERMISSION_FIELD_NUMBER: _ClassVar[int]
permission: _descriptor.FieldDescriptor
TEXT_FIELD_NUMBER: _ClassVar[int]
text: _descriptor.FieldDescriptor
REQUIRED_FIELD_NUMBER: _ClassVar[int]
required: _descriptor.FieldDescriptor
ONLY_TRUE_FIELD_NUMBER: _ClassVar[int]
only_true: _descriptor.FieldDescriptor

class Text(_message.Message):
    __slots__ = ("shortest", "longest", "example")
    SHORTEST_FIELD_NUMBER: _ClassVar[int]
    LONGEST_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_FIELD_NUMBER: _ClassVar[int]
    shortest: int
    longest: int
    example: str
    def __init__(self, shortest: _Optional[int] = ..., longest: _Optional[int] = ..., example: _Optional[str] = ...) -> None: ...
