//! Sets of bytes, which is what RE2's classes are in Latin-1.

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; 4]);

impl Set {
    pub(super) fn of(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut set = Self::default();
        bytes.into_iter().for_each(|byte| set.0[usize::from(byte >> 6)] |= 1 << (byte & 63));
        set
    }

    pub(super) fn filtered(keep: impl Fn(u8) -> bool) -> Self {
        Self::of((0..=u8::MAX).filter(|byte| keep(*byte)))
    }

    pub(super) fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    pub(super) fn negated(self) -> Self {
        Self(self.0.map(|bits| !bits))
    }

    pub(super) fn folded(self) -> Self {
        Self::filtered(|byte| self.has(byte.to_ascii_lowercase()) || self.has(byte.to_ascii_uppercase()))
    }

    /// How many ranges of bytes. Where every letter is there in both cases, ranges of capitals come for free.
    pub(super) fn ranges(self) -> u64 {
        let both_cases = self == self.folded();
        let mut count = 0;
        let mut start = None;
        for byte in 0..=u8::MAX {
            if !self.has(byte) {
                start = None;
                continue;
            }
            let start = *start.get_or_insert(byte);
            let is_end = byte == u8::MAX || !self.has(byte + 1);
            let capitals = start.is_ascii_uppercase() && byte.is_ascii_uppercase();
            count += u64::from(is_end && !(both_cases && capitals));
        }
        count
    }
}
