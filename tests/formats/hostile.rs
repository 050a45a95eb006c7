//! Records that no product sends.

/// Records that somebody would send to break a reader, each with a name.
#[expect(clippy::too_many_lines, reason = "one table of records")]
pub fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let mut records: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |name, bytes: &[u8]| records.push((name, bytes.to_vec()));
    let alert = |field: &str| format!("{{\"title\":\"t\",\"severity\":\"low\",{field}}}").into_bytes();
    let nested = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (name, text) in [
        ("nothing", ""),
        ("a space", " "),
        ("a line end", "\n"),
        ("a NUL byte", "\0"),
        ("a BOM alone", "\u{feff}"),
        ("null", "null"),
        ("true", "true"),
        ("a number", "1e9"),
        ("a text", "\"title\""),
        ("an empty object", "{}"),
        ("an empty list", "[]"),
        ("a list of nothing", "[null]"),
        ("a list of lists", "[[]]"),
        ("half an object", "{\"title\":"),
        ("no end", "{\"title\":\"t\""),
        ("rubbish after", "{\"title\":\"t\",\"severity\":\"low\"} x"),
        ("two objects", "{\"title\":\"t\",\"severity\":\"low\"}{}"),
        ("single quotes", "{'title':'t'}"),
        ("a comment", "{\"title\":\"t\" /* */}"),
        ("a comma too many", "{\"title\":\"t\",}"),
        ("NaN", "{\"title\":\"t\",\"severity\":NaN}"),
        ("infinity", "{\"title\":\"t\",\"severity\":1e400}"),
        ("a leading zero", "{\"title\":\"t\",\"severity\":01}"),
        ("a lone surrogate", "{\"title\":\"\\ud800\",\"severity\":\"low\"}"),
        ("a raw control sign", "{\"title\":\"a\u{1}b\",\"severity\":\"low\"}"),
        ("a key twice", "{\"title\":\"t\",\"title\":\"u\",\"severity\":\"low\"}"),
        ("a key twice, written in two ways", "{\"title\":\"t\",\"\\u0074itle\":\"u\",\"severity\":\"low\"}"),
        ("a key twice, far down", "{\"title\":\"t\",\"severity\":\"low\",\"a\":[{\"b\":{\"c\":1,\"c\":2}}]}"),
        ("XML", "<alert/>"),
        ("YAML", "title: t\nseverity: low\n"),
        ("CEF", "CEF:0|v|p|1|2|n|5|"),
        ("an HTTP request", "GET / HTTP/1.1\r\n\r\n"),
        ("a BOM before", "\u{feff}{\"title\":\"t\",\"severity\":\"low\"}"),
    ] {
        add(name, text.as_bytes());
    }
    add("bytes that are no UTF-8", b"{\"title\":\"\xff\xfe\",\"severity\":\"low\"}");
    add("UTF-16", &"{\"title\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    add("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00");
    add("over-long UTF-8", b"{\"title\":\"\xc0\xaf\",\"severity\":\"low\"}");
    add("63 lists deep", &alert(&format!("\"x\":{}", nested("[", "]", 63))));
    add("64 lists deep in an object", &alert(&format!("\"x\":{}", nested("[", "]", 64))));
    add("100,000 lists deep", nested("[", "]", 100_000).as_bytes());
    add("100,000 objects deep", nested("{\"a\":", "}", 100_000).as_bytes());
    add("100,000 lists, never closed", "[".repeat(100_000).as_bytes());
    add("10,001 values", &alert(&format!("\"x\":[{}1]", "1,".repeat(10_000))));
    add("257 keys", format!("{{{}\"z\":1}}", (0..256).map(|n| format!("\"k{n}\":1,")).collect::<String>()).as_bytes());
    add("a mebibyte of text", &alert(&format!("\"x\":\"{}\"", "x".repeat(1024 * 1024))));
    add(
        "nearly a mebibyte of title",
        format!("{{\"title\":\"{}\",\"severity\":\"low\"}}", "é".repeat(500_000)).as_bytes(),
    );
    add("a key of 900 kB", &alert(&format!("\"{}\":1", "k".repeat(900_000))));
    add("a title of control signs", b"{\"title\":\"\\u0000\\u001b[2J\\u202e\",\"severity\":\"low\"}");
    add("a title of spaces", b"{\"title\":\"  \",\"severity\":\"low\"}");
    add("a title that is a list", b"{\"title\":[\"t\"],\"severity\":\"low\"}");
    add("a title that is an object", b"{\"title\":{\"t\":1},\"severity\":\"low\"}");
    add("a severity that is an object", b"{\"title\":\"t\",\"severity\":{\"level\":\"high\"}}");
    add("a severity of 1e308", b"{\"title\":\"t\",\"severity\":1e308}");
    for (name, field) in [
        ("a time of minus infinity", "\"start\":-1e308"),
        ("a time in the year 300000", "\"start\":9e12,\"end\":\"+300000-01-01T00:00:00Z\""),
        ("a time before the flood", "\"start\":\"-9999-01-01T00:00:00Z\""),
        ("a leap second", "\"start\":\"2016-12-31T23:59:60Z\""),
        ("an integer past 64 bits", "\"external_id\":123456789012345678901234567890"),
        ("an id of 300 kB", "\"external_id\":\"ID\""),
        ("entities that are a list", "\"entities\":[{\"ip\":1}]"),
        ("entities that are a text", "\"entities\":\"ip\""),
        ("an entity within an entity", "\"entities\":{\"ip\":[[[{\"address\":\"192.0.2.1\"}]]]}"),
        ("an address with a port", "\"entities\":{\"ip\":[{\"address\":\"192.0.2.1:80\"}]}"),
        ("an address of 1 kB", "\"entities\":{\"ip\":[{\"address\":\"ID\"}]}"),
        (
            "properties of every type",
            "\"entities\":{\"host\":[{\"name\":null,\"os\":{},\"id\":[],\"ip\":true,\"fqdn\":1.5}]}",
        ),
        (
            "links of every kind",
            "\"links\":[{\"url\":\"javascript:alert(1)\"},{\"url\":\"https:// x\"},{\"url\":\"HTTP://\"},{\"url\":7},{}]",
        ),
        (
            "raw of its own",
            "\"raw\":{\"title\":\"other\"},\"received\":\"1970-01-01T00:00:00Z\",\"source\":\"x\",\"id\":\"a-1.0\"",
        ),
        ("a status of every type", "\"status\":[{},[],null,\"resolved\"]"),
        ("a prototype", "\"__proto__\":{\"severity\":\"high\"},\"constructor\":{}"),
    ] {
        add(name, &alert(&field.replace("ID", &"9".repeat(if name.contains("300 kB") { 300_000 } else { 1_000 }))));
    }
    let many = |n: usize, item: &str| vec![item; n].join(",");
    add(
        "1,000 entities",
        &alert(&format!(
            "\"entities\":{{\"host\":[{}]}}",
            (0..1_000).map(|n| format!("{{\"name\":\"h{n}\"}}")).collect::<Vec<_>>().join(",")
        )),
    );
    add(
        "5,000 tags",
        &alert(&format!("\"tags\":[{}]", (0..5_000).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(","))),
    );
    add("a huge extended", &alert(&format!("\"extended\":{{\"a\":\"{}\",\"b\":1}}", "x".repeat(200_000))));
    add(
        "1,001 alerts in one",
        format!("{{\"receiver\":\"r\",\"groupKey\":\"g\",\"alerts\":[{}]}}", many(1_001, "{\"labels\":{\"a\":\"b\"}}"))
            .as_bytes(),
    );
    add(
        "alerts that are no objects",
        b"{\"receiver\":\"r\",\"groupKey\":\"g\",\"alerts\":[{\"labels\":{\"a\":\"b\"}},7]}",
    );
    let defender = |entities: &str| {
        format!("{{\"SystemAlertId\":\"1\",\"AlertType\":\"T\",\"AlertDisplayName\":\"n\",\"Severity\":\"Low\",\"Entities\":{entities}}}").into_bytes()
    };
    add(
        "a reference to itself",
        &defender("[{\"$id\":\"1\",\"Host\":{\"$ref\":\"1\"},\"Name\":\"a\",\"Type\":\"account\"},{\"$ref\":\"1\"}]"),
    );
    add(
        "a circle of references",
        &defender(
            "[{\"$id\":\"1\",\"$ref\":\"2\"},{\"$ref\":\"2\"},{\"$id\":\"2\",\"ParentProcess\":{\"$id\":\"3\",\"ParentProcess\":{\"$ref\":\"2\"},\"CommandLine\":\"c\",\"Type\":\"process\"},\"Type\":\"process\"}]",
        ),
    );
    add("a reference to nothing", &defender("[{\"$ref\":\"99\"},{\"$ref\":null},{\"$ref\":{}}]"));
    add(
        "a thousand references to one",
        &defender(&format!(
            "[{},{{\"$id\":\"1\",\"HostName\":\"h\",\"Type\":\"host\"}}]",
            many(1_000, "{\"$ref\":\"1\"}")
        )),
    );
    add(
        "ids twice",
        &defender(
            "[{\"$id\":\"1\",\"HostName\":\"a\",\"Type\":\"host\"},{\"$id\":\"1\",\"HostName\":\"b\",\"Type\":\"host\"},{\"$ref\":\"1\"}]",
        ),
    );
    add("packed JSON that is too deep", &defender(&serde_json::to_string(&nested("[", "]", 100)).unwrap()));
    add("packed JSON with a key twice", &defender("\"[{\\\"Type\\\":\\\"ip\\\",\\\"Type\\\":\\\"host\\\"}]\""));
    records
}
