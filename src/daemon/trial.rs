//! A trial of a destination on an operator's word: on record first, then sent, and told stage by stage.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actions::Trial;
use crate::daemon::clock;
use crate::daemon::core::Message;
use crate::daemon::order::Ordered;
use crate::daemon::perform::World;
use crate::daemon::report::TrialReport;
use crate::domain::effect::EffectKey;
use crate::domain::operator::Who;
use crate::engine::orders::Wish;

/// Sends one marked message to a destination; `None`: there is no such destination.
///
/// # Errors
/// When the order cannot be put on record.
pub async fn try_out(
    world: &Arc<World>,
    destination: String,
    who: Who,
    comment: String,
) -> Result<Option<TrialReport>, String> {
    let destinations = world.destinations.load_full();
    let Some(settings) = destinations.settings.get(&destination) else { return Ok(None) };
    let kind = settings.target.kind().to_owned();
    let (done, ordered) = oneshot::channel();
    let wish = Wish::TryOut(destination.clone());
    let order = Message::Order(Box::new(Ordered { who, comment, wish, dry_run: false, done }));
    let stopping = || "the daemon is stopping".to_owned();
    world.core.send(order).await.map_err(|_| stopping())?;
    let seq = ordered.await.map_err(|_| stopping())??.seq.unwrap_or_default();
    let head = world.history.journal.head();
    let (key, log_head) = (EffectKey::of_trial(&world.journal_id, seq), format!("{}:{}", head.seq, head.hash));
    let trial = Trial { destination: &destination, key: &key, at: clock::now(), log_head: &log_head };
    let stages = destinations.actions.try_out(trial).await.map(|stages| stages.into_vec()).unwrap_or_default();
    let good = !stages.is_empty() && stages.iter().all(|stage| stage.good);
    Ok(Some(TrialReport { destination, kind, seq, key, good, stages }))
}
