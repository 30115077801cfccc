//! Damage to known good bytes, told by an input: what checksums and signatures guard is never reached by bytes out of nothing.

/// Changes that one input can make.
const CHANGES_MAX: usize = 16;

/// The bytes of an input, taken one after the other; zeros where there are no more.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which fits two bytes or is cut to them; 0 if `bound` is.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let number = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        number.checked_rem(bound).unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Damages one of `files` after the other until the input is over: bits flipped, bytes put in place of others, put between,
    /// taken out, doubled, or the end cut off.
    pub(crate) fn damage(&mut self, files: &mut [&mut Vec<u8>]) {
        for _ in 0..CHANGES_MAX {
            if self.is_over() {
                return;
            }
            let (how, which) = (self.byte(), usize::from(self.byte()));
            let count = files.len().max(1);
            let Some(file) = files.get_mut(which % count) else { return };
            self.change(how, file);
        }
    }

    fn change(&mut self, how: u8, file: &mut Vec<u8>) {
        let at = self.below(file.len() + 1);
        let count = usize::from(self.byte());
        let end = (at + count).min(file.len());
        match how % 6 {
            0 => {
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << (count % 8);
                }
            }
            1 => {
                let new = self.bytes(end - at);
                file[at..at + new.len()].copy_from_slice(new);
            }
            2 => {
                let new = self.bytes(count);
                file.splice(at..at, new.iter().copied());
            }
            3 => {
                file.drain(at..end);
            }
            4 => {
                let doubled = file[at..end].to_vec();
                file.splice(end..end, doubled);
            }
            _ => file.truncate(at),
        }
    }
}
