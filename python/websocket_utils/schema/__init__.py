"""Message classes described for the people at the other end: `.proto` files, TypeScript, JSON Schema.

`websocket-utils schema` prints what these functions return.
"""

from ._json_schema import json_schema
from ._messages import ProtoField, ProtoMessage, model_of, proto_messages, proto_model
from ._proto import proto
from ._typescript import typescript

__all__ = [
    "ProtoField",
    "ProtoMessage",
    "json_schema",
    "model_of",
    "proto",
    "proto_messages",
    "proto_model",
    "typescript",
]
