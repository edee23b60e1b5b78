//! Which rows of a column have a value.

/// One bit for each row, the first in the lowest bit of the first byte, as Arrow has it. Set where there is a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    bytes: Vec<u8>,
    len: usize,
    nulls: usize,
}

impl Bitmap {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { bytes: Vec::with_capacity(rows.div_ceil(8)), len: 0, nulls: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, has_value: bool) {
        let bit = self.len % 8;
        if bit == 0 {
            self.bytes.push(0);
        }
        if let Some(byte) = self.bytes.last_mut() {
            *byte |= u8::from(has_value) << bit;
        }
        self.len += 1;
        self.nulls += usize::from(!has_value);
    }

    /// Takes the last row back.
    pub(super) fn pop(&mut self) {
        let Some(last) = self.len.checked_sub(1) else { return };
        self.nulls -= usize::from(!self.has_value(last));
        self.len = last;
        if last % 8 == 0 {
            self.bytes.pop();
        } else if let Some(byte) = self.bytes.last_mut() {
            *byte &= (1 << (last % 8)) - 1;
        }
    }

    /// True if there is a value in `row`.
    #[must_use]
    pub fn has_value(&self, row: usize) -> bool {
        self.bytes.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// Rows without a value.
    #[must_use]
    pub const fn nulls(&self) -> usize {
        self.nulls
    }

    /// The bits.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Bitmap;

    #[test]
    fn bits_are_those_of_the_rows_pushed_and_not_taken_back() {
        let mut bitmap = Bitmap::with_capacity(0);
        let rows: Vec<bool> = (0..100).map(|row| row % 3 != 1).collect();
        for row in &rows {
            bitmap.push(*row);
            bitmap.push(!*row);
            bitmap.pop();
        }
        assert!(rows.iter().enumerate().all(|(row, has_value)| bitmap.has_value(row) == *has_value));
        assert_eq!(bitmap.nulls(), rows.iter().filter(|has_value| !**has_value).count());
        assert_eq!(bitmap.bytes().len(), 13);
        assert!(!bitmap.has_value(100));
    }
}
