//! Protocol Buffers of message classes: compiled from the messages that `websocket_utils.schema` describes.

mod compile;
mod conversion;
mod encode;
mod layout;
mod model;
mod quick;
mod value;

pub(super) use conversion::Conversion;
pub(super) use encode::Writer;
pub(super) use model::Model;
pub(super) use value::refusal;

use pyo3::prelude::*;
use websocket_utils_core::codec::protobuf::Number;

/// A message as `websocket_utils.schema` describes it.
#[derive(FromPyObject)]
struct ProtoMessage<'py> {
    kind: String,
    record: Option<Bound<'py, PyAny>>,
    fields: Vec<ProtoField<'py>>,
}

/// One field of it.
#[derive(FromPyObject)]
struct ProtoField<'py> {
    name: String,
    number: u32,
    #[pyo3(attribute("type"))]
    type_: String,
    label: String,
    absent: String,
    message: Option<usize>,
    shape: Bound<'py, PyAny>,
    field: Option<Bound<'py, PyAny>>,
}

/// The messages of a type that is a message class or a union of them, and its own shape.
///
/// # Errors
/// `TypeError` for what has no form in Protocol Buffers.
fn described<'py>(type_: &Bound<'py, PyAny>) -> PyResult<(Vec<ProtoMessage<'py>>, Bound<'py, PyAny>)> {
    let module = type_.py().import("websocket_utils.schema._messages")?;
    let model = module.call_method1("model_of", ((type_,),))?;
    let shape = model.getattr("root")?.getattr("items")?.get_item(0)?;
    Ok((module.call_method1("proto_messages", (model,))?.extract()?, shape))
}

/// Name of the kind of a shape.
fn kind_of(shape: &Bound<'_, PyAny>) -> PyResult<String> {
    shape.get_type().name()?.extract()
}

/// A shape as it is on the wire, and the type that its value is converted to where that is another.
fn based<'py>(shape: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    if kind_of(shape)? != "Foreign" {
        return Ok((shape.clone(), None));
    }
    let base = based(&shape.getattr("base")?)?.0;
    // Classes and unions of them are made here, whatever else msgspec would have to do with them.
    let is_class = matches!(kind_of(&base)?.as_str(), "Nested" | "Union");
    let type_ = if is_class { None } else { Some(shape.getattr("type")?) };
    Ok((base, type_))
}

/// A number's type by its name in a `.proto` file.
fn number_named(name: &str) -> Option<Number> {
    Some(match name {
        "bool" => Number::Bool,
        "int32" => Number::Int32,
        "int64" => Number::Int64,
        "uint32" => Number::UInt32,
        "uint64" => Number::UInt64,
        "float" => Number::Float,
        "double" => Number::Double,
        _ => return None,
    })
}
