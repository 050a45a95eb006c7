//! Reports add up what a look at every alert adds up, and suggest what loads.

use std::collections::{BTreeMap, BTreeSet};

use soard::index::noise::{Figures, NoiseLine, NoiseReport, NoiseRequest, NoiseSort, noise};

use crate::oracle::{self, Known};
use crate::{ENTRIES, World, now, seeds};

fn report(world: &World, request: &NoiseRequest) -> NoiseReport {
    world.query(|conn| noise(conn, request, now())).unwrap()
}

/// What an alert adds to figures, told anew.
fn add(sum: &mut (Figures, Vec<u64>), known: &Known) {
    let (figures, waited) = sum;
    let is = |word: &Option<String>, wanted: &str| word.as_deref() == Some(wanted);
    let false_positive = is(&known.closed_as, "false_positive") || is(&known.useful_reason, "false_positive");
    let benign = is(&known.closed_as, "benign") || is(&known.useful_reason, "expected");
    figures.alerts += 1;
    figures.times += known.count;
    figures.suppressed += u64::from(known.suppressed_by.is_some());
    figures.throttled += u64::from(known.fate == "throttled");
    figures.high += u64::from(known.severity == "high");
    figures.dismissed += u64::from(known.suppressed_by.is_none() && known.status == "dismissed");
    figures.closed += u64::from(known.closed_as.is_some());
    figures.false_positives += u64::from(false_positive);
    figures.benign += u64::from(benign);
    figures.vain += u64::from(false_positive || benign);
    figures.judged += u64::from(known.useful.is_some());
    figures.not_useful += u64::from(known.useful == Some(false));
    figures.worth += u64::from(is(&known.closed_as, "true_positive") || known.useful == Some(true));
    figures.decided += u64::from(known.closed_as.is_some() || known.useful.is_some());
    figures.runs += known.runs.len() as u64;
    figures.deliveries += known.deliveries;
    figures.orders += known.orders;
    figures.acted += u64::from(known.orders > 0);
    let seconds = known.first_order.map(|at| at.duration_since(known.received).as_secs().unsigned_abs());
    waited.extend(seconds);
}

type Named = (String, Option<String>, String);

/// The same report, from a look at every alert.
fn looked_at(known: &[&Known], by: &str) -> BTreeMap<Named, Figures> {
    let mut sums: BTreeMap<Named, (Figures, Vec<u64>)> = BTreeMap::new();
    for known in known {
        let fields = match by {
            "rule" => &[("suppression", "suppressed_by"), ("route", "route")][..],
            by => &[(by, by)],
        };
        for (what, field) in fields {
            let values: BTreeSet<String> = known.values(field).iter().map(|value| value.to_lowercase()).collect();
            for value in values {
                let source = (by == "kind").then(|| known.values("source")[0].clone());
                add(sums.entry(((*what).to_owned(), source, value)).or_default(), known);
            }
        }
    }
    let median = |(mut figures, mut waited): (Figures, Vec<u64>)| {
        waited.sort_unstable();
        figures.first_action_secs = waited.get(waited.len().saturating_sub(1) / 2).copied();
        figures
    };
    sums.into_iter().map(|(named, sum)| (named, median(sum))).collect()
}

fn named(lines: &[NoiseLine]) -> BTreeMap<Named, Figures> {
    let name = |line: &NoiseLine| (line.what.clone(), line.source.clone(), line.value.clone().unwrap().to_lowercase());
    lines.iter().map(|line| (name(line), line.figures.clone())).collect()
}

#[test]
fn reports_say_what_a_look_at_every_alert_says() {
    let mut seen = Figures::default();
    for seed in 0..seeds() {
        let world = World::generated(seed, ENTRIES);
        world.build();
        let known = oracle::fold(&world.lines());
        let middle = known[known.len() / 2].received;
        for since in [None, Some(middle)] {
            let known: Vec<&Known> = known.iter().filter(|known| since.is_none_or(|at| known.received >= at)).collect();
            for by in ["kind", "rule", "source", "host", "tag", "title", "playbook", "assignee", "feedback"] {
                let request = NoiseRequest { by: by.into(), since, limit: Some(1000), ..NoiseRequest::default() };
                let report = report(&world, &request);
                assert_eq!(named(&report.lines), looked_at(&known, by), "seed {seed}, {by} since {since:?}");
                assert_eq!(report.of, report.lines.len() as u64);
                if by == "source" && since.is_none() {
                    report.lines.iter().for_each(|line| gather(&mut seen, &line.figures));
                }
            }
        }
    }
    let missing = serde_json::to_value(&seen).unwrap();
    let missing: Vec<_> = missing.as_object().unwrap().iter().filter(|(_, n)| **n == 0).collect();
    assert!(missing.is_empty(), "the journals have none of {missing:?}");
}

fn gather(all: &mut Figures, one: &Figures) {
    let Figures {
        alerts, times, suppressed, throttled, high, dismissed, closed, false_positives, benign, vain, ..
    } = one;
    all.alerts += alerts;
    all.times += times;
    all.suppressed += suppressed;
    all.throttled += throttled;
    all.high += high;
    all.dismissed += dismissed;
    all.closed += closed;
    all.false_positives += false_positives;
    all.benign += benign;
    all.vain += vain;
    all.judged += one.judged;
    all.not_useful += one.not_useful;
    all.worth += one.worth;
    all.decided += one.decided;
    all.runs += one.runs;
    all.deliveries += one.deliveries;
    all.orders += one.orders;
    all.acted += one.acted;
}

#[test]
fn the_order_of_a_report_is_the_one_that_is_asked_for() {
    let world = World::generated(1, ENTRIES);
    world.build();
    for sort in NoiseSort::ALL {
        let asked = |limit| NoiseRequest { by: "title".into(), sort, limit: Some(limit), ..NoiseRequest::default() };
        let whole = report(&world, &asked(1000));
        let key = |line: &NoiseLine| {
            let figures = &line.figures;
            match sort {
                NoiseSort::Volume => Some(figures.alerts as f64),
                NoiseSort::Dismissed => figures.dismissed_share(),
                NoiseSort::FalsePositive => figures.false_positive_share(),
                NoiseSort::NotUseful => figures.not_useful_share(),
                NoiseSort::Actions => Some(-(figures.actions() as f64) / figures.alerts as f64),
                NoiseSort::FirstAction => figures.first_action_secs.map(|secs| secs as f64),
            }
        };
        let keys: Vec<f64> = whole.lines.iter().map(|line| key(line).unwrap_or(f64::NEG_INFINITY)).collect();
        assert!(keys.len() > 3 && keys.is_sorted_by(|a, b| a >= b), "{sort:?}: {keys:?}");
        assert_eq!(whole.lines.iter().map(|line| line.rank).collect::<Vec<_>>(), (1..=whole.of).collect::<Vec<_>>());
        let first = report(&world, &asked(2));
        assert_eq!((&first.lines[..], first.of), (&whole.lines[..2], whole.of), "{sort:?}: the first of all lines");
    }
    let wrong = NoiseRequest { by: "knd".into(), ..NoiseRequest::default() };
    let said = world.query(|conn| noise(conn, &wrong, now())).unwrap_err().to_string();
    assert!(said.contains("did you mean `kind`?"), "{said}");
}
