//! The forms in which a message leaves.

use crate::codec::WireFormat;

/// Logs of a broadcaster: for each wire format one of bare payloads and one of payloads with their positions, each plain
/// and compressed where that pays. A log that nobody reads costs no memory.
pub(super) const VARIANTS: usize = 12;

pub(super) const FORMATS: [WireFormat; 3] = [WireFormat::JSON, WireFormat::MESSAGE_PACK, WireFormat::Protobuf];

/// Variants of one format.
pub(super) const FORMS: usize = 4;
pub(super) const BARE: usize = 0;
pub(super) const BARE_COMPRESSED: usize = 1;
pub(super) const SEQUENCED: usize = 2;
pub(super) const SEQUENCED_COMPRESSED: usize = 3;

/// Which log a connection reads from: its wire format, whether it reads positions, and whether compressed frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant(u8);

impl Variant {
    pub(crate) const fn new(format: WireFormat, is_sequenced: bool, is_compressed: bool) -> Self {
        let format = match format {
            WireFormat::JSON => 0,
            WireFormat::MESSAGE_PACK => 1,
            WireFormat::Protobuf => 2,
        };
        Self(format * FORMS as u8 + is_sequenced as u8 * SEQUENCED as u8 + is_compressed as u8)
    }

    /// Its place among [`VARIANTS`].
    #[inline]
    pub(super) const fn place(self) -> usize {
        self.0 as usize
    }

    /// The place of its format in [`FORMATS`].
    #[inline]
    pub(super) const fn format(self) -> usize {
        self.place() / FORMS
    }

    /// Whether publications have their positions in front.
    #[inline]
    pub(crate) const fn is_sequenced(self) -> bool {
        self.0 & SEQUENCED as u8 != 0
    }
}

/// A set of variants, by their places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct VariantSet(u16);

impl VariantSet {
    #[inline]
    pub(super) fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    #[inline]
    pub(super) fn remove(&mut self, place: usize) {
        self.0 &= !(1 << place);
    }

    #[inline]
    pub(super) fn contains(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of the format at `index`, as a set of forms.
    #[inline]
    pub(super) fn forms(self, index: usize) -> Self {
        Self(self.0 >> (index * FORMS) & 0xF)
    }

    /// Their places, in order.
    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let place = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (place < VARIANTS).then_some(place)
        })
    }
}
