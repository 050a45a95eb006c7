//! Rules and alerts made from a seed, in the shape of suppressions over alerts of about 1 KB.
//!
//! Each rule joins values that are common by themselves. An alert that is not planted has the same common values,
//! but in pairs that no rule asks for (the sum of their numbers is odd), so nothing is cheap just because it is rare.

use serde_json::{Map, Value, json};

/// Numbers that depend on the seed alone (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    /// A number below this one that makes an even sum with the other, or an odd one.
    fn matched(&mut self, limit: usize, other: usize, even: bool) -> usize {
        let number = self.below(limit / 2) * 2;
        number + usize::from((other % 2 == 0) != even)
    }
}

/// What the rules of a set ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole values.
    Equal,
    /// Parts of texts.
    Contains,
    /// Regular expressions.
    Regex,
    /// Networks.
    Cidr,
    /// Some of everything, and lists of hashes; any ten in a row have nearly the same mix.
    Mixed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Self::Equal, Self::Contains, Self::Regex, Self::Cidr, Self::Mixed];

    /// As the table names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "all equal",
            Self::Contains => "contains",
            Self::Regex => "regex",
            Self::Cidr => "cidr",
            Self::Mixed => "mixed",
        }
    }
}

const KINDS: usize = 100;
const HOSTS: usize = 1000;
const SITES: usize = 20;
const WORDS: usize = 200;
const PROGRAMS: usize = 100;
const OPTIONS: usize = 300;
const NETS: usize = 250;

// None is the end of another, so that no word is found inside another one.
const SYLLABLES: [&str; 16] = [
    "zan", "bel", "cor", "dim", "wix", "fir", "gath", "hul", "ister", "jun", "kep", "lum", "mot", "nis", "tup", "quar",
];

fn word(number: usize, salt: usize) -> String {
    let number = number + salt * 977;
    [SYLLABLES[number % 16], SYLLABLES[number / 16 % 16], SYLLABLES[number / 256 % 16]].concat()
}

fn kind(number: usize) -> String {
    format!("Detection_{}_{number}", word(number, 1))
}

fn host(number: usize) -> String {
    format!("site{:02}-{}-{number:04}", number % SITES, word(number, 2))
}

fn title_word(number: usize) -> String {
    format!("{} activity", word(number, 3))
}

fn program(number: usize) -> String {
    format!("\\{}{}.exe", word(number, 4), number)
}

fn option(number: usize) -> String {
    format!("--{}={number}", word(number, 5))
}

fn net(number: usize) -> String {
    format!("10.{}", number + 1)
}

fn hash(dice: &mut Dice) -> String {
    (0..4).map(|_| format!("{:016x}", dice.next())).collect()
}

/// The choices that a rule asks for and an alert has.
#[derive(Debug, Clone)]
pub struct Choices {
    kind: usize,
    host: usize,
    word: usize,
    program: usize,
    options: [usize; 2],
    net: (usize, usize),
    hash: String,
    port: usize,
}

impl Choices {
    fn new(dice: &mut Dice, even: bool) -> Self {
        let kind = dice.below(KINDS);
        let host = dice.matched(HOSTS, kind, even);
        let program = dice.below(PROGRAMS);
        Self {
            kind,
            host,
            word: dice.matched(WORDS, host % SITES, even),
            program,
            options: [dice.matched(OPTIONS, program, even), dice.matched(OPTIONS, program, even)],
            net: (dice.matched(NETS, kind, even), dice.below(256)),
            hash: hash(dice),
            port: 1024 + dice.below(60_000),
        }
    }
}

/// One rule: what it asks for, as a detection, and choices that satisfy it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Sigma's detection.
    pub detection: Value,
    choices: Choices,
}

/// So many rules of this kind.
pub fn rules(kind: Kind, count: usize, seed: u64) -> Vec<Rule> {
    let mut dice = Dice(seed);
    (0..count).map(|number| rule(kind, number, &mut dice)).collect()
}

fn rule(kind: Kind, number: usize, dice: &mut Dice) -> Rule {
    let choices = Choices::new(dice, true);
    let form = match kind {
        Kind::Equal => 0,
        Kind::Contains => 1 + number % 2,
        Kind::Regex => 5,
        Kind::Cidr => 3,
        Kind::Mixed => [0, 1, 2, 3, 4, 0, 1, 2, 3, 5, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4][number % 20],
    };
    let c = &choices;
    let detection = match form {
        0 => {
            json!({"selection": {"kind": self::kind(c.kind), "entities.host.name": host(c.host)}, "condition": "selection"})
        }
        1 => json!({
            "selection": {
                "title|contains": title_word(c.word),
                "entities.host.name|startswith": format!("site{:02}-", c.host % SITES),
            },
            "condition": "selection",
        }),
        2 => json!({
            "selection": {
                "entities.process.image|endswith": program(c.program),
                "entities.process.command_line|contains|all": [option(c.options[0]), option(c.options[1])],
            },
            "filter": {"entities.account.name|startswith": "svc_monitoring"},
            "condition": "selection and not filter",
        }),
        3 => json!({
            "selection": {
                "kind": self::kind(c.kind),
                "entities.ip.address|cidr": format!("{}.{}.0/24", net(c.net.0), c.net.1),
            },
            "condition": "selection",
        }),
        4 => {
            let at = dice.below(20);
            let hashes: Vec<String> = (0..20).map(|n| if n == at { c.hash.clone() } else { hash(dice) }).collect();
            json!({"selection": {"entities.file.sha256": hashes}, "condition": "selection"})
        }
        _ => json!({
            "selection": {
                "entities.process.command_line|re": format!("--{}=\\d+ .*--{}=", word(c.options[0], 5), word(c.options[1], 5)),
                "extended.port|gte": 1024,
                "entities.process.image|endswith": program(c.program),
            },
            "condition": "selection",
        }),
    };
    Rule { detection, choices }
}

/// So many alerts, of which this share (in percent) is planted to satisfy one of the rules each.
pub fn alerts(rules: &[Rule], percent: usize, count: usize, seed: u64) -> Vec<String> {
    let mut dice = Dice(seed ^ 0xa1e7);
    let one = |number: usize| {
        let planted = dice.below(100) < percent;
        let own = Choices::new(&mut dice, false);
        let choices = if planted { rules[dice.below(rules.len())].choices.clone() } else { own };
        alert(number, &choices, &mut dice).to_string()
    };
    (0..count).map(one).collect()
}

fn alert(number: usize, c: &Choices, dice: &mut Dice) -> Value {
    let account = format!("{}.{}", word(dice.below(500), 6), word(dice.below(500), 7));
    let directory = word(dice.below(80), 8);
    let image = format!("C:\\Program Files\\{directory}{}", program(c.program));
    let line = format!(
        "\"{image}\" {} --verbose -f C:\\ProgramData\\{}\\job_{number}.cfg {} --end",
        option(c.options[0]),
        word(dice.below(400), 9),
        option(c.options[1]),
    );
    let address = format!("{}.{}.{}", net(c.net.0), c.net.1, 1 + dice.below(250));
    let severity = ["low", "medium", "high"][dice.below(3)];
    let mut extended = Map::new();
    extended.insert("port".into(), json!(c.port));
    extended.insert("bytes".into(), json!(dice.below(1_000_000)));
    extended.insert("zone".into(), json!(format!("zone-{}", dice.below(9))));
    json!({
        "external_id": format!("{:016x}", dice.next()),
        "vendor": "Example",
        "product": "Example Endpoint",
        "kind": kind(c.kind),
        "title": format!("Suspicious {} seen on {}", title_word(c.word), host(c.host)),
        "description": format!(
            "The sensor saw {} start {} with unusual options and talk to {address}; compare with the baseline of the last {} days.",
            account, word(dice.below(300), 10), dice.below(90),
        ),
        "severity": severity,
        "generated": "2026-03-01T10:00:00Z",
        "tactics": ["Execution", "Discovery"],
        "techniques": ["T1059.001", "T1046"],
        "entities": {
            "host": [{"name": host(c.host), "os": "Windows 11"}],
            "account": [{"name": account}],
            "ip": [{"address": address}],
            "process": [{"image": image, "command_line": line, "pid": dice.below(60_000)}],
            "file": [{"sha256": c.hash, "path": format!("C:\\ProgramData\\{directory}\\x.dat")}],
        },
        "extended": extended,
    })
}
