//! `soard token add`.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Format, styled, when};
use crate::cli::plain::safe;
use crate::console::tokens::{Made, New};
use crate::domain::operator::Order;
use crate::domain::time::Span;
use crate::domain::token::{Role, TokenOrder};

/// Make a token; it is shown once
///
/// The token alone is printed to standard output; the daemon keeps nothing but its SHA-256. A token of the role `source`
/// is taken by every http source, beside the tokens in soard.yaml, and for nothing else. Of the other roles each may do
/// what those before it may: viewer, operator, approver, admin.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard token add edr --role source > edr.token\n  \
                        soard token add ann --role operator --expires 30d -c \"on call in March\"")]
pub struct Args {
    /// Whose it is: lower-case letters, digits, `_`, `.` and `-`
    #[arg(value_name = "NAME")]
    name: String,
    /// What its owner may do
    #[arg(long, value_name = "ROLE", value_parser = roles())]
    role: Role,
    /// How long it is valid: 12h, 30d; at most 3650d
    #[arg(long, value_name = "TIME", default_value = "90d")]
    expires: Span,
    /// What for; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

fn roles() -> impl TypedValueParser<Value = Role> {
    let words = PossibleValuesParser::new(Role::ALL.map(Role::as_str));
    words.map(|word| word.parse().expect("clap lets only the roles pass"))
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let (name, comment) = (self.name.clone(), self.comment.clone());
        let ask = New { name, role: self.role, lasts: self.expires, comment };
        let made: Made = context.daemon()?.send("/tokens", &ask).map_err(refused)?;
        match context.format {
            Format::Json => output::print(&output::json(&made))?,
            Format::Human | Format::Csv => {
                output::print(&made.token)?;
                output::note(&styled(FAINT, note(&made)));
            }
        }
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn note(made: &Made) -> String {
    let Order::Token(TokenOrder::Add { name, role, expires, .. }) = &made.report.order else {
        return String::new();
    };
    let (name, until) = (safe(name), when(*expires));
    format!("`{name}` has the role {role} until {until}; this is the only copy of the token, keep it safe")
}
