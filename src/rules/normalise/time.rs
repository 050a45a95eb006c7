//! Times as products write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// How a product writes times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// Text as in RFC 3339; without an offset it is UTC.
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Any of these; a number's size tells seconds, milliseconds, microseconds and nanoseconds apart.
    Auto,
}

impl TimeForm {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("rfc3339", Self::Rfc3339),
        ("epoch_s", Self::EpochSeconds),
        ("epoch_ms", Self::EpochMillis),
        ("auto", Self::Auto),
    ];

    /// Reads a time.
    ///
    /// # Errors
    /// The value is no time in this form.
    pub fn read(self, value: &Value) -> Result<Instant, NoTime> {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse::<f64>().ok(),
            _ => None,
        };
        match (self, number, value) {
            (Self::Rfc3339 | Self::Auto, None, Value::String(text)) => read_text(text.trim()),
            (Self::EpochSeconds, Some(number), _) => epoch(number, 1e9),
            (Self::EpochMillis, Some(number), _) => epoch(number, 1e6),
            (Self::Auto, Some(number), _) => {
                let nanos_per_unit = match number.abs() {
                    size if size >= 1e17 => 1.0,
                    size if size >= 1e14 => 1e3,
                    size if size >= 1e11 => 1e6,
                    _ => 1e9,
                };
                epoch(number, nanos_per_unit)
            }
            _ => Err(NoTime),
        }
    }
}

/// A time, or what stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    /// A time.
    At(Timestamp),
    /// The first instant of year 1, or epoch 0: how many programs write "not set".
    Unset,
}

/// A value that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTime;

fn epoch(number: f64, nanos_per_unit: f64) -> Result<Instant, NoTime> {
    if number == 0.0 {
        return Ok(Instant::Unset);
    }
    // Microseconds are as exact as a float of today's epoch in nanoseconds can be.
    let micros = (number * nanos_per_unit / 1e3).round();
    let plausible = micros.is_finite() && micros.abs() < 253_402_300_800e6;
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    let micros = if plausible { micros as i64 } else { return Err(NoTime) };
    Timestamp::from_microsecond(micros).map(Instant::At).map_err(|_| NoTime)
}

fn read_text(text: &str) -> Result<Instant, NoTime> {
    if text.starts_with("0001-01-01") {
        return Ok(Instant::Unset);
    }
    // Go prints `2006-01-02 15:04:05 +0000 UTC`; the offset says all.
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    let joined;
    let text = match text.rsplit_once(' ') {
        Some((head, offset)) if offset.starts_with(['+', '-']) => {
            joined = format!("{head}{offset}");
            joined.as_str()
        }
        _ => text,
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Instant::At(at));
    }
    let local: DateTime = text.parse().map_err(|_| NoTime)?;
    TimeZone::UTC.to_timestamp(local).map(Instant::At).map_err(|_| NoTime)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_of_many_products_are_read() {
        for (value, expected) in [
            (json!("2026-03-01T10:00:00Z"), "2026-03-01T10:00:00Z"),
            (json!("2026-03-01T10:00:00.1234567Z"), "2026-03-01T10:00:00.1234567Z"),
            (json!("2026-03-01T10:00:00.123456+0100"), "2026-03-01T09:00:00.123456Z"),
            (json!("2026-03-01T10:00:00.123-05:30"), "2026-03-01T15:30:00.123Z"),
            (json!("2026-03-01T10:00:00"), "2026-03-01T10:00:00Z"),
            (json!("2026-03-01 10:00:00"), "2026-03-01T10:00:00Z"),
            (json!("2026-03-01 10:00:00.5 +0000 UTC"), "2026-03-01T10:00:00.5Z"),
            (json!(1_772_359_200), "2026-03-01T10:00:00Z"),
            (json!("1772359200.25"), "2026-03-01T10:00:00.25Z"),
            (json!(1_772_359_200_123_i64), "2026-03-01T10:00:00.123Z"),
            (json!(1_772_359_200_123_456_i64), "2026-03-01T10:00:00.123456Z"),
            (json!(1_772_359_200_123_456_789_i64), "2026-03-01T10:00:00.123457Z"),
        ] {
            let found = TimeForm::Auto.read(&value).unwrap();
            assert_eq!(found, Instant::At(expected.parse().unwrap()), "{value}");
        }
        for unset in [json!("0001-01-01T00:00:00Z"), json!(0)] {
            assert_eq!(TimeForm::Auto.read(&unset), Ok(Instant::Unset));
        }
        for wrong in
            [json!("yesterday"), json!(true), json!([]), json!(1e300), json!("NaN"), json!("2026-13-01T00:00:00Z")]
        {
            assert_eq!(TimeForm::Auto.read(&wrong), Err(NoTime), "{wrong}");
        }
        assert_eq!(TimeForm::Rfc3339.read(&json!(5)), Err(NoTime));
        assert!(TimeForm::EpochMillis.read(&json!("1772359200123")).is_ok());
    }
}
