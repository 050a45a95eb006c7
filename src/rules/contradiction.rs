//! Items of one search that no alert satisfies together.

use std::borrow::Cow;

use crate::domain::alert::{Severity, Status};
use crate::rules::fields::{FieldKind, Fields};
use crate::rules::found::{Actual, Found};
use crate::rules::item::Item;
use crate::rules::test::{Prepared, Test};
use crate::rules::wanted::Wanted;

/// Most items of a search that are held against each other.
const ITEMS_MAX: usize = 64;

/// The first two items, by number, that ask one field of a single value for different values.
///
/// Only what shows from the values themselves is seen: severities, statuses, booleans and whole texts.
pub fn find(items: &[Item], fields: &Fields) -> Option<(usize, usize)> {
    let items = &items[..items.len().min(ITEMS_MAX)];
    let mut pairs = (1..items.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
    pairs.find(|(first, second)| {
        let (a, b) = (&items[*first], &items[*second]);
        let field = &fields.all()[a.field];
        let open = a.constant().is_none() && b.constant().is_none();
        a.field == b.field && open && field.is_single() && exclude_each_other(a, b, field.kind())
    })
}

fn exclude_each_other(a: &Item, b: &Item, kind: FieldKind) -> bool {
    let values = match kind {
        _ if of_other_fields(a) || of_other_fields(b) => None,
        FieldKind::Severity => Some(words(Severity::ALL.map(Severity::as_str))),
        FieldKind::Status => Some(words(Status::ALL.map(Status::as_str))),
        FieldKind::Flag => Some(vec![Actual::Flag(true), Actual::Flag(false)]),
        _ => only(a).filter(|_| tells(b)).or_else(|| only(b).filter(|_| tells(a))),
    };
    let values: Vec<Prepared> = values.into_iter().flatten().map(one).collect();
    !values.is_empty() && !values.iter().any(|value| holds(a, value) && holds(b, value))
}

fn of_other_fields(item: &Item) -> bool {
    item.wants.iter().flat_map(|want| &want.tests).any(|test| test.other_field().is_some())
}

fn words<const N: usize>(words: [&str; N]) -> Vec<Actual<'_>> {
    words.map(|word| Actual::Text(Cow::Borrowed(word))).into()
}

/// The only values that satisfy an item, when they are whole texts in any case.
fn only(item: &Item) -> Option<Vec<Actual<'_>>> {
    let texts = item.wants.iter().flat_map(|want| &want.tests).map(|test| match test {
        Test::Text(pattern) if !pattern.is_cased() => pattern.exact(),
        _ => None,
    });
    let texts: Option<Vec<Actual>> = texts.map(|text| Some(Actual::Text(Cow::Borrowed(text?)))).collect();
    texts.filter(|_| !item.negated && !item.all)
}

/// Its outcome does not depend on the case of a text.
fn tells(item: &Item) -> bool {
    item.wants.iter().flat_map(|want| &want.tests).all(|test| match test {
        Test::Text(pattern) => !pattern.is_cased(),
        Test::Exists(_) | Test::Null => true,
        _ => false,
    })
}

fn one(value: Actual<'_>) -> Prepared<'_> {
    Prepared::new(Found { present: true, values: vec![value] })
}

fn holds(item: &Item, value: &Prepared) -> bool {
    let hits = |want: &Wanted| want.tests.iter().any(|test| test.hits(value, &|_| value));
    let hit = if item.all { item.wants.iter().all(hits) } else { item.wants.iter().any(hits) };
    hit != item.negated
}
