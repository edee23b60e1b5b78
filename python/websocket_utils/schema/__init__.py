"""Message classes described for the people at the other end: `.proto` files, TypeScript, JSON Schema.

`websocket-utils schema` prints what these functions return.
"""

from ._messages import ProtoField, ProtoMessage, proto_messages, proto_model
from ._proto import proto

__all__ = ["ProtoField", "ProtoMessage", "proto", "proto_messages", "proto_model"]
