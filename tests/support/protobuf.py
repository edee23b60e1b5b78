"""Google's Protocol Buffers as a judge: descriptors and message classes, from a model or through protoc."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

from websocket_utils.schema import ProtoField, ProtoMessage

SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


def file_of(
    messages: Sequence[ProtoMessage], *, name: str = "model.proto", package: str | None = None
) -> FileDescriptorProto:
    """What protoc makes of the messages' `.proto` file."""
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    for message in messages:
        _fill(file.message_type.add(), message, f".{package}" if package else "")
    return file


def classes_of(messages: Sequence[ProtoMessage]) -> dict[str, Any]:
    """Google's classes for the messages, by name."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file_of(messages))
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(message.name)) for message in messages
    }


def compiled(text: str, folder: Path, *, name: str = "printed.proto") -> FileDescriptorProto:
    """What protoc makes of a `.proto` file; it also writes the Python module next to it."""
    (folder / name).write_text(text, encoding="utf-8")
    output = folder / "descriptors"
    arguments = ["protoc", f"-I{folder}", f"--python_out={folder}", f"--descriptor_set_out={output}", name]
    assert protoc.main(arguments) == 0, text
    (file,) = FileDescriptorSet.FromString(output.read_bytes()).file
    for message in file.message_type:
        for field in message.field:
            # A name in JSON that follows from the field's is one the model does not have.
            field.ClearField("json_name")
        for entry in message.nested_type:
            for field in entry.field:
                field.ClearField("json_name")
    assert isinstance(file, FileDescriptorProto)
    return file


def _fill(descriptor: DescriptorProto, message: ProtoMessage, scope: str) -> None:
    descriptor.name = message.name
    if message.kind == "union":
        descriptor.oneof_decl.add(name="value")
    for field in message.fields:
        declared = descriptor.field.add(name=field.name, number=field.number)
        declared.label = FieldDescriptorProto.LABEL_OPTIONAL
        if field.label == "map":
            declared.label = FieldDescriptorProto.LABEL_REPEATED
            entry = descriptor.nested_type.add(name=_entry_name(field.name))
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=SCALARS["string"], label=FieldDescriptorProto.LABEL_OPTIONAL)
            value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
            _set_type(value, field, scope)
            declared.type = FieldDescriptorProto.TYPE_MESSAGE
            declared.type_name = f"{scope}.{message.name}.{entry.name}"
            continue
        if field.label == "repeated":
            declared.label = FieldDescriptorProto.LABEL_REPEATED
        elif field.label == "oneof":
            declared.oneof_index = 0
        _set_type(declared, field, scope)
    # protoc puts a choice of one around each optional field, behind those that are written.
    for declared, field in zip(descriptor.field, message.fields, strict=True):
        if field.label == "optional":
            declared.proto3_optional = True
            name = field.name if field.name.startswith("_") else f"_{field.name}"
            used = {one.name for one in (*descriptor.field, *descriptor.oneof_decl)}
            while name in used:
                name = f"X{name}"
            declared.oneof_index = len(descriptor.oneof_decl)
            descriptor.oneof_decl.add(name=name)


def _set_type(declared: FieldDescriptorProto, field: ProtoField, scope: str) -> None:
    if field.message is None:
        declared.type = SCALARS[field.type]
    else:
        declared.type = FieldDescriptorProto.TYPE_MESSAGE
        declared.type_name = f"{scope}.{field.type}"


def _entry_name(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_")) + "Entry"
