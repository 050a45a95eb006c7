//! Which atoms are true of the document at hand.

/// A set of numbers that is emptied in the time it took to fill it.
#[derive(Debug, Default)]
pub struct Marks {
    words: Vec<u64>,
    marked: Vec<u32>,
}

impl Marks {
    /// Makes room for numbers below `count`.
    pub fn reserve(&mut self, count: usize) {
        if self.words.len() * 64 < count {
            self.words.resize(count.div_ceil(64), 0);
        }
    }

    /// Adds a number; whether it is new.
    pub fn add(&mut self, number: u32) -> bool {
        let (word, bit) = (&mut self.words[number as usize / 64], 1 << (number % 64));
        let new = *word & bit == 0;
        if new {
            *word |= bit;
            self.marked.push(number);
        }
        new
    }

    /// Whether a number is in the set.
    pub fn has(&self, number: u32) -> bool {
        self.words[number as usize / 64] >> (number % 64) & 1 == 1
    }

    /// The numbers, in the order in which they came.
    pub fn all(&self) -> &[u32] {
        &self.marked
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        for number in self.marked.drain(..) {
            self.words[number as usize / 64] = 0;
        }
    }
}
