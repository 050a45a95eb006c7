//! The alerts of a day: the samples of the shipped formats, each time with other ids, hosts and addresses.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use soard::daemon::samples::SAMPLES;

use crate::random::Random;

/// How often a format comes, of so many records; the others come once.
const OFTEN: [(&str, usize); 3] = [("falco", 8), ("suricata-eve", 2), ("soard", 2)];

/// Records, by lot but the same for each seed.
pub fn records(seed: u64) -> impl Iterator<Item = Value> {
    let mut random = Random::new(seed);
    let times = |format: &str| OFTEN.iter().find(|(often, _)| *often == format).map_or(1, |(_, times)| *times);
    let pool: Vec<&str> =
        SAMPLES.iter().flat_map(|(format, record)| std::iter::repeat_n(*record, times(format))).collect();
    std::iter::from_fn(move || {
        let mut record: Value = serde_json::from_str(pool[random.below(pool.len())]).unwrap();
        let variant = Variant { host: random.below(25), address: random.below(200), ids: random.next() };
        variant.write("", &mut record);
        Some(record)
    })
}

/// What makes a record another one than the sample.
struct Variant {
    host: usize,
    address: usize,
    ids: u64,
}

impl Variant {
    fn write(&self, key: &str, value: &mut Value) {
        static KIND: LazyLock<Regex> = LazyLock::new(|| Regex::new("(?i)rule|detector|analytic").unwrap());
        match value {
            // What a detection is called stays.
            Value::Object(fields) => {
                let fields = fields.iter_mut().filter(|(key, _)| !KIND.is_match(key));
                fields.for_each(|(key, value)| self.write(key, value));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.write(key, item)),
            Value::String(text) => *text = self.text(key, text),
            Value::Number(number) if number.as_u64().is_some_and(|number| number > 1_000_000_000_000) => {
                *value = (self.ids >> 12).into();
            }
            _ => {}
        }
    }

    fn text(&self, key: &str, text: &str) -> String {
        static ID: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\b[0-9a-f]{12,}\b|[0-9]{9,}").unwrap());
        static ADDRESS: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\b([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})\.[0-9]{1,3}\b").unwrap());
        static HOST: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(?i)^(hostname|host|computer|instance|pod|.*host.*name|agent.*name)$").unwrap()
        });
        let text = ID.replace_all(text, |found: &regex::Captures| self.id(&found[0]));
        let text = ADDRESS.replace_all(&text, |found: &regex::Captures| format!("{}.{}", &found[1], 1 + self.address));
        if HOST.is_match(key) { format!("{text}-{}", self.host) } else { text.into_owned() }
    }

    /// Other digits, at the same places.
    fn id(&self, id: &str) -> String {
        let mut random = Random::new(self.ids);
        let digit = |c: char, random: &mut Random| match c {
            '0'..='9' => char::from_digit(u32::try_from(1 + random.below(9)).unwrap(), 10).unwrap(),
            'a'..='f' | 'A'..='F' => char::from_digit(u32::try_from(10 + random.below(6)).unwrap(), 16).unwrap(),
            other => other,
        };
        id.chars().map(|c| digit(c, &mut random)).collect()
    }
}
