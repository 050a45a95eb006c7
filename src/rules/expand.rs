//! `|expand`: values that stand in the bundle's lists, `%name%` for the list `name`.

use ipnet::IpNet;

use crate::domain::lists::Lists;
use crate::rules::fields::Field;
use crate::rules::known::Reading;
use crate::rules::modifiers::{Modifiers, Operator};
use crate::rules::pattern::{self, Pattern, Token};
use crate::rules::test::{Test, address};
use crate::rules::wanted;
use crate::yaml::node::Node;

/// Most values that one text expands to.
pub const EXPANDED_MAX: usize = 10_000;

/// A text between placeholders, or the name of a list.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    List(&'a str),
}

/// Reads a text with placeholders; a list's entries are taken as they are, without wildcards.
pub fn read(node: &Node, field: &Field, modifiers: &Modifiers, reading: &mut Reading) -> Option<Vec<Test>> {
    let text = wanted::text(node, reading)?;
    let parts = parts(&text);
    if !parts.iter().any(|part| matches!(part, Part::List(_))) {
        reading.bad_value(node, "`expand` needs the name of a list: `%name%`", None);
        return None;
    }
    let mut all: Vec<Vec<Token>> = vec![Vec::new()];
    for part in parts {
        let choices = match part {
            Part::Text(text) => vec![pattern::tokens(text)],
            Part::List(name) => entries(node, name, reading)?,
        };
        if all.len() * choices.len() > EXPANDED_MAX {
            let message = format!("it expands to more than {EXPANDED_MAX} values");
            reading.bad_value(node, message, Some("use fewer lists in one text".into()));
            return None;
        }
        let joined = all.iter().flat_map(|head| choices.iter().map(|tail| [head.as_slice(), tail].concat()));
        all = joined.collect();
    }
    if modifiers.operator == Operator::Cidr {
        return networks(node, &text, &all, reading);
    }
    let anchor = wanted::anchor(modifiers, field);
    let test = |mut tokens: Vec<Token>| {
        if modifiers.windash {
            pattern::any_dash(&mut tokens);
        }
        Test::Text(Pattern::of(tokens, anchor, modifiers.cased))
    };
    Some(all.into_iter().map(test).collect())
}

/// A percent sign that closes no name is itself.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(open) = rest[from..].find('%').map(|at| from + at) {
        let name = rest[open + 1..].split('%').next().unwrap_or_default();
        let close = open + 1 + name.len();
        let named = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !named || close >= rest.len() {
            from = open + 1;
            continue;
        }
        if open > 0 {
            out.push(Part::Text(&rest[..open]));
        }
        out.push(Part::List(name));
        rest = &rest[close + 1..];
        from = 0;
    }
    if !rest.is_empty() {
        out.push(Part::Text(rest));
    }
    out
}

fn entries(node: &Node, name: &str, reading: &mut Reading) -> Option<Vec<Vec<Token>>> {
    let Lists(lists) = reading.lists;
    let Some(list) = lists.get(name) else {
        let help = match crate::yaml::diagnostic::nearest(name, &lists.keys().map(String::as_str).collect::<Vec<_>>()) {
            Some(near) => format!("did you mean `%{near}%`?"),
            None => format!("it would be the file lists/{name}.txt"),
        };
        reading.bad_value(node, format!("there is no list `{name}`"), Some(help));
        return None;
    };
    Some(list.keys().map(|key| key.chars().map(Token::Char).collect()).collect())
}

fn networks(node: &Node, text: &str, all: &[Vec<Token>], reading: &mut Reading) -> Option<Vec<Test>> {
    let written = |tokens: &Vec<Token>| -> String {
        let char = |token: &Token| if let Token::Char(c) = token { *c } else { '*' };
        tokens.iter().map(char).collect()
    };
    let mut out = Vec::new();
    for entry in all.iter().map(written) {
        let network = entry.parse::<IpNet>().ok().or_else(|| address(&entry).map(IpNet::from));
        let Some(network) = network else {
            let message = format!("`{text}` gives {entry:?}, which is neither a network nor an address");
            reading.bad_value(node, message, Some("a list for `cidr` holds one network or address a line".into()));
            return None;
        };
        out.push(Test::Network(network.trunc()));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_percent_signs() {
        use Part::{List, Text};
        assert_eq!(parts("%vip%"), [List("vip")]);
        assert_eq!(parts(r"C:\Users\%vip%\*"), [Text(r"C:\Users\"), List("vip"), Text(r"\*")]);
        assert_eq!(parts("%a%%b%"), [List("a"), List("b")]);
        assert_eq!(parts("100% of %a%"), [Text("100% of "), List("a")]);
        assert_eq!(parts("%"), [Text("%")]);
        assert_eq!(parts("%% %a"), [Text("%% %a")]);
    }
}
