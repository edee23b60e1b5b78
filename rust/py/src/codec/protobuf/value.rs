//! Single values as they are written.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use websocket_utils_core::codec::protobuf::{
    Number, write_bytes, write_double, write_float, write_signed, write_unsigned,
};

use super::super::class::class_name;

/// Why an object can't be written: boxed, as a result of every value has room for it.
pub(in super::super) struct Failure(Box<Reason>);

enum Reason {
    /// A value has no form: the way to it, and what is wrong.
    Value(String, String),
    /// What Python code raised.
    Raised(PyErr),
}

/// Whether a value was written.
pub(super) type Written = Result<(), Failure>;

impl Failure {
    #[cold]
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(Box::new(Reason::Value(String::new(), what.into())))
    }

    #[cold]
    pub(super) fn raised(error: PyErr) -> Self {
        Self(Box::new(Reason::Raised(error)))
    }

    #[cold]
    pub(super) fn within(mut self, step: &str) -> Self {
        if let Reason::Value(path, _) = &mut *self.0 {
            path.insert_str(0, step);
        }
        self
    }
}

/// A reference to a value that Python code might let go meanwhile.
pub(super) struct Held(pub(super) *mut ffi::PyObject);

impl Held {
    /// # Safety
    /// The GIL is held for the life of the result, and `object` is alive.
    pub(super) unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's contract.
        unsafe { ffi::Py_INCREF(object) };
        Self(object)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the GIL is held (see `new`).
        unsafe { ffi::Py_DECREF(self.0) }
    }
}

/// `TypeError` for a failure that is told as what it is about.
pub(in super::super) fn refusal(failure: Failure) -> PyErr {
    match *failure.0 {
        Reason::Raised(error) => error,
        Reason::Value(path, what) => PyTypeError::new_err(format!("{what} - at `${path}`")),
    }
}

/// A value of another type than the field's.
#[cold]
pub(super) unsafe fn unexpected(expected: &str, value: *mut ffi::PyObject) -> Failure {
    Python::attach(|py| {
        // SAFETY: the value is alive.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        Failure::new(format!("expected {expected}, got {}", class_name(value.get_type().as_any())))
    })
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
pub(super) unsafe fn write_text(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Written {
    // SAFETY: the value is alive, and each look inside follows a check of its type; none runs Python code.
    unsafe {
        if ffi::PyUnicode_Check(value) == 0 {
            return Err(unexpected("str", value));
        }
        let (bytes, length) = if ffi::PyUnicode_IS_COMPACT_ASCII(value) != 0 {
            (ffi::PyUnicode_DATA(value).cast::<u8>().cast_const(), ffi::PyUnicode_GET_LENGTH(value))
        } else {
            let mut size = 0;
            let bytes = ffi::PyUnicode_AsUTF8AndSize(value, &raw mut size);
            if bytes.is_null() {
                ffi::PyErr_Clear();
                return Err(Failure::new("it has lone surrogates, which are no UTF-8"));
            }
            (bytes.cast::<u8>(), size)
        };
        write_bytes(out, std::slice::from_raw_parts(bytes, length as usize));
    }
    Ok(())
}

/// # Safety
/// The GIL is held, and `value` is alive.
pub(super) unsafe fn write_bytes_of(value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Written {
    // SAFETY: the value is alive, and each look inside follows a check of its type; none runs Python code.
    unsafe {
        let (bytes, length) = if ffi::PyBytes_Check(value) != 0 {
            (ffi::PyBytes_AS_STRING(value), ffi::PyBytes_Size(value))
        } else if ffi::PyByteArray_Check(value) != 0 {
            (ffi::PyByteArray_AsString(value).cast_const(), ffi::PyByteArray_Size(value))
        } else {
            return Err(unexpected("bytes", value));
        };
        write_bytes(out, std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize));
    }
    Ok(())
}

/// A member of an enum.
pub(super) struct Member {
    pub(super) value: Py<PyAny>,
    /// What is written for it.
    pub(super) written: Box<[u8]>,
}

/// # Safety
/// The GIL is held, and `value` is alive.
pub(super) unsafe fn write_chosen(
    members: &[Member],
    is_text: bool,
    value: *mut ffi::PyObject,
    out: &mut Vec<u8>,
) -> Written {
    if let Some(member) = members.iter().find(|member| member.value.as_ptr() == value) {
        out.extend_from_slice(&member.written);
        return Ok(());
    }
    if !members.is_empty() {
        // SAFETY: the caller's contract.
        return Err(unsafe { unexpected("a member of the enum", value) });
    }
    // SAFETY: the caller's contract.
    unsafe { if is_text { write_text(value, out) } else { write_number(Number::Int64, value, out) } }
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
pub(super) unsafe fn write_number(number: Number, value: *mut ffi::PyObject, out: &mut Vec<u8>) -> Written {
    // SAFETY: the caller's contract; each look inside follows a check of the type, and none runs Python code.
    unsafe {
        match number {
            Number::Double => write_double(out, float_of(value)?),
            Number::Float => {
                let wide = float_of(value)?;
                #[expect(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what the annotation says")]
                let narrow = wide as f32;
                if narrow.is_infinite() && wide.is_finite() {
                    return Err(Failure::new(format!("{wide} is beyond the range of a 32-bit float")));
                }
                write_float(out, narrow);
            }
            Number::Bool => {
                if value != ffi::Py_True() && value != ffi::Py_False() {
                    return Err(unexpected("bool", value));
                }
                out.push(u8::from(value == ffi::Py_True()));
            }
            Number::UInt64 | Number::UInt32 => write_unsigned(out, unsigned_of(number, value)?),
            Number::Int64 | Number::Int32 => write_signed(out, signed_of(number, value)?),
        }
    }
    Ok(())
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn float_of(value: *mut ffi::PyObject) -> Result<f64, Failure> {
    // SAFETY: the caller's contract; each look inside follows a check of the type.
    unsafe {
        if ffi::PyFloat_Check(value) != 0 {
            return Ok(ffi::PyFloat_AS_DOUBLE(value));
        }
        if !is_integer(value) {
            return Err(unexpected("float", value));
        }
        // A whole price may be written without a point, as msgspec reads it in JSON.
        let float = ffi::PyLong_AsDouble(value);
        if float.to_bits() == (-1.0_f64).to_bits() && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return Err(Failure::new("the integer is beyond the range of a float"));
        }
        Ok(float)
    }
}

/// An `int`, and no `bool`.
///
/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn is_integer(value: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let type_ = ffi::Py_TYPE(value);
        type_ == &raw mut ffi::PyLong_Type || (ffi::PyLong_Check(value) != 0 && type_ != &raw mut ffi::PyBool_Type)
    }
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn signed_of(number: Number, value: *mut ffi::PyObject) -> Result<i64, Failure> {
    // SAFETY: the caller's contract; the value is an integer where it is read as one.
    unsafe {
        if !is_integer(value) {
            return Err(unexpected("int", value));
        }
        let mut overflow = 0;
        let signed = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
        if overflow != 0 || (number == Number::Int32 && i32::try_from(signed).is_err()) {
            return Err(out_of_range(number, value));
        }
        Ok(signed)
    }
}

/// # Safety
/// The GIL is held, and `value` is alive.
#[inline]
unsafe fn unsigned_of(number: Number, value: *mut ffi::PyObject) -> Result<u64, Failure> {
    // SAFETY: the caller's contract; the value is an integer where it is read as one.
    unsafe {
        if !is_integer(value) {
            return Err(unexpected("int", value));
        }
        let mut overflow = 0;
        let signed = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
        let unsigned = match (overflow, u64::try_from(signed)) {
            (0, Ok(unsigned)) => unsigned,
            (1.., _) => {
                let unsigned = ffi::PyLong_AsUnsignedLongLong(value);
                if unsigned == u64::MAX && !ffi::PyErr_Occurred().is_null() {
                    ffi::PyErr_Clear();
                    return Err(out_of_range(number, value));
                }
                unsigned
            }
            _ => return Err(out_of_range(number, value)),
        };
        if number == Number::UInt32 && u32::try_from(unsigned).is_err() {
            return Err(out_of_range(number, value));
        }
        Ok(unsigned)
    }
}

/// # Safety
/// The GIL is held, and `value` is an integer.
#[cold]
unsafe fn out_of_range(number: Number, value: *mut ffi::PyObject) -> Failure {
    let (least, most) = match number {
        Number::UInt64 => ("0", u64::MAX.to_string()),
        Number::UInt32 => ("0", u32::MAX.to_string()),
        Number::Int32 => ("-2147483648", i32::MAX.to_string()),
        _ => ("-9223372036854775808", i64::MAX.to_string()),
    };
    Python::attach(|py| {
        // SAFETY: the value is alive.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        // A huge one refuses to be written out.
        let got = value.str().map_or_else(|_| "a larger one".to_owned(), |text| text.to_string());
        Failure::new(format!("expected an integer from {least} to {most}, got {got}"))
    })
}
