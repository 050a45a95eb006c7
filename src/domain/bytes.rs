//! Numbers of bytes as people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written as `512KiB`, `64MiB`, `20GiB` or `2TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let parse = || {
            let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
            number.trim_end().parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0).map(Self)
        };
        parse().ok_or_else(|| format!("{text:?} is no number of bytes; write 512KiB, 64MiB, 20GiB or 2TiB"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match units.into_iter().find(|(_, shift)| self.0.is_multiple_of(1 << shift)) {
            Some((unit, shift)) if self.0 > 0 => write!(f, "{}{unit}", self.0 >> shift),
            _ => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("3 GiB".parse(), Ok(Bytes(3 << 30)));
        for bad in ["", "64", "64MB", "0KiB", "-1GiB", "99999999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }
}
