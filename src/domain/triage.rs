//! What operators change about alerts, and the words for it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Status, UnknownWord};

/// Characters of one tag.
pub const TAG_CHARS_MAX: usize = 64;

/// Tags that one change adds or removes.
pub const TAGS_MAX: usize = 20;

/// Characters of the name that an alert is assigned to.
pub const ASSIGNEE_CHARS_MAX: usize = 100;

/// A change to one alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertChange {
    /// It stands elsewhere now, whatever its source says, until its severity rises.
    Status {
        /// Where.
        to: Status,
        /// What it turned out to be; for `resolved` and `dismissed`, and only for them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<CloseReason>,
    },
    /// Nothing but the order's comment.
    Comment,
    /// Short labels.
    Tags {
        /// Those that it has from now on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        add: Vec<String>,
        /// Those that it has no more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remove: Vec<String>,
    },
    /// Who looks after it.
    Assign {
        /// A name; `None`: nobody any more.
        to: Option<String>,
    },
    /// Whether it was worth raising, for whoever tunes the product and the rules.
    Feedback {
        /// It was.
        useful: bool,
        /// In what way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<FeedbackReason>,
    },
}

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// An attack, or an attempt.
    TruePositive,
    /// The product saw right, and what it saw was meant to be.
    Benign,
    /// The product is wrong.
    FalsePositive,
    /// See the comment.
    Other,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::TruePositive, Self::Benign, Self::FalsePositive, Self::Other];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::Benign => "benign",
            Self::FalsePositive => "false_positive",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for CloseReason {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == word);
        found.ok_or_else(|| UnknownWord { word: word.into() })
    }
}

/// In what way an alert was useful, or was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackReason {
    /// Useful: somebody did something about it.
    LedToAction,
    /// Useful: it helped to understand something else.
    GaveContext,
    /// Not useful: the product is wrong.
    FalsePositive,
    /// Not useful: what it saw was meant to be.
    Expected,
    /// Not useful: another alert says the same.
    Duplicate,
    /// Not useful: there are too many of its kind.
    TooMany,
    /// Not useful: it says too little to act upon.
    LacksDetail,
    /// See the comment.
    Other,
}

impl FeedbackReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::LedToAction,
        Self::GaveContext,
        Self::FalsePositive,
        Self::Expected,
        Self::Duplicate,
        Self::TooMany,
        Self::LacksDetail,
        Self::Other,
    ];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LedToAction => "led_to_action",
            Self::GaveContext => "gave_context",
            Self::FalsePositive => "false_positive",
            Self::Expected => "expected",
            Self::Duplicate => "duplicate",
            Self::TooMany => "too_many",
            Self::LacksDetail => "lacks_detail",
            Self::Other => "other",
        }
    }

    /// Whether it is said of alerts that were useful, or of those that were not.
    pub const fn fits(self, useful: bool) -> bool {
        match self {
            Self::LedToAction | Self::GaveContext => useful,
            Self::FalsePositive | Self::Expected | Self::Duplicate | Self::TooMany | Self::LacksDetail => !useful,
            Self::Other => true,
        }
    }
}

impl fmt::Display for FeedbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FeedbackReason {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == word);
        found.ok_or_else(|| UnknownWord { word: word.into() })
    }
}

/// What is wrong with a change, whatever the alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// Closing needs a reason.
    #[error("{0} needs a reason: {words}", words = words(&CloseReason::ALL.map(CloseReason::as_str)))]
    NoReason(Status),
    /// Open alerts have not turned out to be anything.
    #[error("{0} takes no reason; `resolved` and `dismissed` do")]
    ReasonOfOpen(Status),
    /// The reason says nothing by itself.
    #[error("the reason `other` needs a comment that says it")]
    OtherWithoutComment,
    /// There is nothing to put on record.
    #[error("the comment is empty")]
    NoComment,
    /// There is nothing to add or to remove.
    #[error("it names no tag to add or to remove")]
    NoTags,
    /// Too many.
    #[error("it names {0} tags; at most {TAGS_MAX} at once")]
    TooManyTags(usize),
    /// Not a tag.
    #[error("{0:?} is no tag: one line of 1 to {TAG_CHARS_MAX} characters, without space around it")]
    BadTag(String),
    /// It would be there and not be there.
    #[error("the tag {0:?} is both added and removed")]
    TagBothWays(String),
    /// Not a name.
    #[error("{0:?} is no name: one line of 1 to {ASSIGNEE_CHARS_MAX} characters, without space around it")]
    BadAssignee(String),
    /// The reason contradicts the feedback.
    #[error("{reason} is no reason for {said}; {words} are", said = if *useful { "useful" } else { "not_useful" })]
    UnfitFeedback {
        /// The reason.
        reason: FeedbackReason,
        /// What the feedback says.
        useful: bool,
        /// The reasons that fit.
        words: String,
    },
}

fn words(words: &[&str]) -> String {
    words.join(", ")
}

impl AlertChange {
    /// Whether it is a change at all, given its comment.
    ///
    /// # Errors
    /// [`BadChange`] says what is wrong with it.
    pub fn check(&self, comment: &str) -> Result<(), BadChange> {
        let said = !comment.trim().is_empty();
        match self {
            Self::Status { to, reason: None } if !to.is_open() => Err(BadChange::NoReason(*to)),
            Self::Status { to, reason: Some(_) } if to.is_open() => Err(BadChange::ReasonOfOpen(*to)),
            Self::Status { reason: Some(CloseReason::Other), .. }
            | Self::Feedback { reason: Some(FeedbackReason::Other), .. }
                if !said =>
            {
                Err(BadChange::OtherWithoutComment)
            }
            Self::Comment if !said => Err(BadChange::NoComment),
            Self::Tags { add, remove } => check_tags(add, remove),
            Self::Assign { to: Some(name) } if !is_line(name, ASSIGNEE_CHARS_MAX) => {
                Err(BadChange::BadAssignee(name.clone()))
            }
            Self::Feedback { useful, reason: Some(reason) } if !reason.fits(*useful) => {
                let fitting = FeedbackReason::ALL.into_iter().filter(|reason| reason.fits(*useful));
                let words = words(&fitting.map(FeedbackReason::as_str).collect::<Vec<_>>());
                Err(BadChange::UnfitFeedback { reason: *reason, useful: *useful, words })
            }
            Self::Status { .. } | Self::Comment | Self::Assign { .. } | Self::Feedback { .. } => Ok(()),
        }
    }
}

fn check_tags(add: &[String], remove: &[String]) -> Result<(), BadChange> {
    match add.len() + remove.len() {
        0 => return Err(BadChange::NoTags),
        n if n > TAGS_MAX => return Err(BadChange::TooManyTags(n)),
        _ => {}
    }
    if let Some(bad) = add.iter().chain(remove).find(|tag| !is_line(tag, TAG_CHARS_MAX)) {
        return Err(BadChange::BadTag(bad.clone()));
    }
    let both = add.iter().find(|tag| remove.contains(tag));
    both.map_or(Ok(()), |tag| Err(BadChange::TagBothWays(tag.clone())))
}

fn is_line(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(to: Status, reason: Option<CloseReason>) -> AlertChange {
        AlertChange::Status { to, reason }
    }

    fn tags(add: &[&str], remove: &[&str]) -> AlertChange {
        let owned = |tags: &[&str]| tags.iter().map(ToString::to_string).collect();
        AlertChange::Tags { add: owned(add), remove: owned(remove) }
    }

    #[test]
    fn what_is_no_change_says_why() {
        let feedback = |useful, reason| AlertChange::Feedback { useful, reason };
        let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
        for (change, comment, expected) in [
            (
                status(Status::Resolved, None),
                "",
                "resolved needs a reason: true_positive, benign, false_positive, other",
            ),
            (status(Status::Active, Some(CloseReason::Benign)), "", "active takes no reason"),
            (status(Status::Dismissed, Some(CloseReason::Other)), " ", "`other` needs a comment"),
            (AlertChange::Comment, "\n", "the comment is empty"),
            (tags(&[], &[]), "", "no tag"),
            (AlertChange::Tags { add: many, remove: vec![] }, "", "21 tags"),
            (tags(&["ok", " x"], &[]), "", "\" x\" is no tag"),
            (tags(&[], &[""]), "", "\"\" is no tag"),
            (tags(&["a\u{1b}b"], &[]), "", "is no tag"),
            (tags(&["x"], &["x"]), "", "both added and removed"),
            (AlertChange::Assign { to: Some("a\nb".into()) }, "", "is no name"),
            (feedback(true, Some(FeedbackReason::Duplicate)), "", "for useful; led_to_action, gave_context, other are"),
            (feedback(false, Some(FeedbackReason::LedToAction)), "", "for not_useful; false_positive, expected"),
            (feedback(false, Some(FeedbackReason::Other)), "", "needs a comment"),
        ] {
            let said = change.check(comment).expect_err(expected).to_string();
            assert!(said.contains(expected), "{said}");
        }
        for (change, comment) in [
            (status(Status::Resolved, Some(CloseReason::Other)), "see ticket 7"),
            (status(Status::InProgress, None), ""),
            (AlertChange::Comment, "x"),
            (tags(&["vip"], &["new"]), ""),
            (AlertChange::Assign { to: None }, ""),
            (feedback(true, None), ""),
            (feedback(false, Some(FeedbackReason::TooMany)), ""),
        ] {
            assert_eq!(change.check(comment), Ok(()), "{change:?}");
        }
    }
}
