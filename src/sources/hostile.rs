//! What an attacker, or a broken tool, may put where a record is expected. For the tests of every source.

use crate::domain::record::RECORD_BYTES_MAX;

/// Named bodies; each is to be recorded, quarantined or refused, and never to hurt what comes after it.
pub fn bodies() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> =
        TEXTS.iter().map(|text| (format!("{text:?}"), text.as_bytes().to_vec())).collect();
    all.extend(BYTES.iter().map(|bytes| (format!("{bytes:?}"), bytes.to_vec())));
    let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let large: [(&str, String); 16] = [
        ("128 levels", deep(128)),
        ("100,000 levels", deep(100_000)),
        ("open brackets", "[".repeat(200_000)),
        ("open braces", "{\"a\":".repeat(100_000)),
        ("many keys", format!("{{{}\"z\":1}}", (0..20_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>())),
        ("one key many times", format!("{{{}\"a\":1}}", "\"a\":1,".repeat(50_000))),
        ("long number", format!("{{\"a\":{}}}", "9".repeat(100_000))),
        ("long fraction", format!("{{\"a\":0.{}}}", "1".repeat(100_000))),
        ("long string", format!("{{\"a\":\"{}\"}}", "x".repeat(900_000))),
        ("long key", format!("{{\"{}\":1}}", "k".repeat(500_000))),
        ("as long as a record", "x".repeat(RECORD_BYTES_MAX)),
        ("longer than a record", "x".repeat(RECORD_BYTES_MAX + 1)),
        ("wide characters over the limit", format!("x{}", "é".repeat(RECORD_BYTES_MAX / 2 + 2))),
        ("only white space", " \t".repeat(100_000)),
        ("only line ends", "\n".repeat(10_000)),
        ("escapes", format!("{{\"a\":\"{}\"}}", "\\u0000".repeat(50_000))),
    ];
    all.extend(large.into_iter().map(|(name, text)| (name.into(), text.into_bytes())));
    all.push(("NUL bytes".into(), vec![0; 100_000]));
    all.push(("0xFF bytes".into(), vec![0xFF; 100_000]));
    all
}

const TEXTS: [&str; 44] = [
    "",
    " ",
    "\n",
    "\r\n",
    "\r",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "[[]]",
    "null",
    "true",
    "0",
    "-0",
    "1e400",
    "-1e-400",
    "NaN",
    "\"text\"",
    "'single'",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{\"a\" 1}",
    "{a:1}",
    "{\"a\":1}{\"b\":2}",
    "{\"a\":1} trailing",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"tab\there\"}",
    "{\"a\":01}",
    "{\"a\":1,\"a\":2}",
    "// comment",
    "{\"a\":1 /* comment */}",
    "<?xml version=\"1.0\"?><a>&lol;</a>",
    "a,b,c\n1,2,3",
    "title: yaml\nlist: [1, 2]",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "{\"__proto__\":{\"polluted\":true}}",
    "{\"title\":\"\\u001b[2J\\r\\nInjected: header\"}",
    "{\"title\":\"<script>alert(1)</script>\"}",
    "{\"title\":\"=cmd|'/c calc'!A1\"}",
    "{\"path\":\"../../etc/passwd\"}",
];

const BYTES: [&[u8]; 12] = [
    b"\0",
    b"\0{}",
    b"{}\0",
    b"{\"a\":\"\0\"}",
    b"\xFF\xFE{\0}\0",
    b"\xFE\xFF\0{\0}",
    b"\xEF\xBB\xBF",
    b"\xEF\xBB\xBF\xEF\xBB\xBF{}",
    b"{\"a\":\"\xC3\x28\"}",
    b"{\"a\":\"\xED\xA0\x80\"}",
    b"\x1F\x8B\x08\0\0\0\0\0",
    b"\x7FELF\x02\x01\x01",
];
