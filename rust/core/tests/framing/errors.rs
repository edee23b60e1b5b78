//! Errors are small, say what happened, and map to the right close code.

use websocket_utils_core::close::CloseCode;
use websocket_utils_core::connection::State;
use websocket_utils_core::error::{LocalError, ProtocolError, ProtocolFault};
use websocket_utils_core::opcode::Opcode;

#[test]
fn errors_are_at_most_16_bytes() {
    assert!(size_of::<ProtocolFault>() <= 16);
    assert!(size_of::<ProtocolError>() <= 16);
    assert!(size_of::<LocalError>() <= 16);
}

#[test]
fn each_violation_has_its_close_code_and_names_its_section() {
    let opcode = Opcode::Ping;
    for (fault, code, says) in [
        (ProtocolFault::ReservedBits { bits: 0b100 }, 1002, "reserved bits 100"),
        (ProtocolFault::ReservedOpcode { opcode: 0xb }, 1002, "reserved opcode 0xb"),
        (ProtocolFault::FragmentedControl { opcode }, 1002, "Ping frame without FIN"),
        (ProtocolFault::ControlTooLong { opcode }, 1002, "Ping frame over 125 bytes"),
        (ProtocolFault::MissingMask, 1002, "unmasked frame from a client"),
        (ProtocolFault::UnexpectedMask, 1002, "masked frame from a server"),
        (ProtocolFault::NonMinimalLength { length: 5 }, 1002, "payload length 5"),
        (ProtocolFault::LengthHighBit, 1002, "highest bit of the 64-bit payload length"),
        (ProtocolFault::MessageTooBig { size: 1 << 40, limit: 1000 }, 1009, "limit of 1000 bytes"),
        (ProtocolFault::TooManyEmptyFragments { limit: 7 }, 1002, "more than 7 fragments without payload"),
        (ProtocolFault::UnexpectedContinuation, 1002, "continuation frame, but no"),
        (ProtocolFault::ExpectedContinuation { opcode: Opcode::Text }, 1002, "Text frame inside a fragmented message"),
        (ProtocolFault::InvalidUtf8 { offset: 9 }, 1007, "no UTF-8 at byte 9"),
        (ProtocolFault::InvalidDeflate, 1007, "not to be inflated"),
        (ProtocolFault::ClosePayloadLength, 1002, "payload of 1 byte"),
        (ProtocolFault::CloseCode { code: 1005 }, 1002, "code 1005"),
        (ProtocolFault::CloseReason { offset: 3 }, 1007, "close reason is no UTF-8 at byte 3"),
    ] {
        let error = ProtocolError::from(fault);
        let text = error.to_string();
        assert_eq!(error.close_code(), CloseCode::from_u16(code), "{text}");
        assert!(error.close_code().is_valid_on_wire());
        assert!(text.contains(says), "{text}");
        let rfc = if fault == ProtocolFault::InvalidDeflate { 7692 } else { 6455 };
        assert!(text.contains(&format!("(RFC {rfc} section ")), "{text}");
    }
}

#[test]
fn each_refusal_says_why() {
    for (error, says) in [
        (
            LocalError::NotSendable { opcode: Opcode::Text, state: State::CloseSent },
            "Text frame can't be sent in state CloseSent",
        ),
        (LocalError::ControlTooLong { size: 126 }, "payload of 126 bytes"),
        (LocalError::CloseCode { code: CloseCode::ABNORMAL_CLOSURE }, "1006 (abnormal closure)"),
        (LocalError::ReasonWithoutCode, "close reason without a close code"),
        (LocalError::MissingKey, "needs a masking key"),
        (LocalError::UnexpectedKey, "takes no masking key"),
    ] {
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
        assert!(text.contains("(RFC 6455 section "), "{text}");
    }
}

#[test]
fn close_codes_are_named_where_the_registry_names_them() {
    assert_eq!(CloseCode::NORMAL_CLOSURE.to_string(), "1000 (normal closure)");
    assert_eq!(CloseCode::from_u16(4321).to_string(), "4321");
    let named: Vec<u16> = (0..=u16::MAX).filter(|code| CloseCode::from_u16(*code).name().is_some()).collect();
    let registered: Vec<u16> = (1000..=1003).chain(1005..=1015).collect();
    assert_eq!(named, registered);
}
