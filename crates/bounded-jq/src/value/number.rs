//! Numbers: read from their text, computed with, and used as floats and as indexes.

use std::cmp::Ordering;
use std::rc::Rc;

use jaq_core::ops::Math;
use jaq_json::Num;

use crate::meter::{HEAD, Stop, hold, spend, spend_bytes, stop};

/// The largest whole number, in bits: 20,000 digits. Without a bound, squaring forty times fills
/// the memory.
const MAX_BITS: u64 = 64 * 1024;
/// The most digits of a whole number that is computed with exactly. A longer one is kept as text
/// and computed with as a float.
const MAX_DIGITS: usize = 1000;
/// The bytes of a machine word.
const WORD: usize = 8;

/// A number. Every operation on one spends fuel for its length, and holds the memory of its result.
#[derive(Debug, Clone)]
pub(crate) struct Number(Num);

impl Number {
    /// Reads a number from its text. All but ordinary whole numbers keep their text.
    pub(crate) fn read(text: &str) -> Self {
        spend_bytes(text.len());
        let whole = text != "-0" && text.len() <= MAX_DIGITS;
        let number = whole.then(|| Num::from_str_radix(text, 10)).flatten();
        if let Some(number) = number {
            return Self::new(number, 0);
        }
        hold(text.len());
        Self::new(Num::Dec(Rc::new(text.to_owned())), text.len())
    }

    /// Makes a number; `held` bytes of its memory were taken before.
    fn new(number: Num, held: usize) -> Self {
        let number = Self(number);
        let weight = number.weight();
        if weight > 0 {
            hold(HEAD + weight.saturating_sub(held));
        }
        number
    }

    /// Returns the number of the library.
    pub(crate) const fn inner(&self) -> &Num {
        &self.0
    }

    /// Returns the memory that the number takes beside the value itself, in bytes.
    pub(super) fn weight(&self) -> usize {
        match &self.0 {
            Num::Int(_) | Num::Float(_) => 0,
            Num::BigInt(_) => usize::try_from(self.bits() / 8).unwrap_or(usize::MAX),
            Num::Dec(text) => text.len(),
        }
    }

    /// Returns the bits of a whole number that does not fit a machine word, else those of a word.
    fn bits(&self) -> u64 {
        match &self.0 {
            Num::BigInt(number) => number.bits(),
            Num::Int(_) | Num::Float(_) | Num::Dec(_) => 64,
        }
    }

    /// Computes with two numbers; ends the run if the result would be too large.
    pub(super) fn compute(self, math: Math, other: Self) -> Self {
        let bits = self.bits() + other.bits();
        if bits > MAX_BITS {
            stop(Stop::Value);
        }
        spend_bytes(self.weight() + other.weight());
        spend((bits / 64) * (bits / 64) / 64);
        Self::new(math.run(self.0, other.0), 0)
    }

    /// Returns the number with the other sign.
    pub(super) fn negate(self) -> Self {
        let weight = self.weight();
        spend_bytes(weight);
        // The sign may take one byte more.
        hold(weight + 1);
        Self::new(-self.0, weight + 1)
    }

    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.0, Num::Int(_) | Num::BigInt(_))
    }

    /// Returns the nearest float.
    pub(super) fn float(&self) -> f64 {
        match &self.0 {
            Num::Float(float) => *float,
            Num::Dec(text) => {
                spend_bytes(text.len());
                text.parse().unwrap_or(f64::NAN)
            }
            Num::Int(_) | Num::BigInt(_) => self.digits().parse().unwrap_or(f64::NAN),
        }
    }

    /// Returns the digits of a whole number.
    pub(crate) fn digits(&self) -> String {
        if let Num::BigInt(large) = &self.0 {
            // Writing one takes time in the square of its length; a digit takes a third of a byte.
            let words = large.bits() / 64;
            spend(words * words / 64 + 1);
            hold(usize::try_from(large.bits() / 3).unwrap_or(usize::MAX));
        }
        self.0.to_string()
    }

    /// Returns the number as an index, rounded down; an extreme one if it is not finite.
    fn index(&self) -> isize {
        self.0.as_isize().unwrap_or_else(|| {
            let floor = self.float().floor();
            let far = if floor < 0.0 { isize::MIN } else { isize::MAX };
            format!("{floor:.0}").parse().unwrap_or(far)
        })
    }

    /// Returns the position that the number means as an index, counted from the end if it is
    /// negative; `None` before the start.
    pub(super) fn position(&self, len: usize) -> Option<usize> {
        let index = self.index();
        match usize::try_from(index) {
            Ok(at) => Some(at),
            Err(_) => len.checked_sub(index.unsigned_abs()),
        }
    }
}

impl From<isize> for Number {
    fn from(number: isize) -> Self {
        Self(Num::Int(number))
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::new(Num::from_integral(number), 0)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(Num::Float(number))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let weight = self.weight() + other.weight();
        if weight > WORD {
            spend_bytes(weight);
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}
