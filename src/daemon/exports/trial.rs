//! A trial of an export on an operator's word: on record first, then one marked notice, told stage by stage.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::actions::peer::Batch;
use crate::actions::trial::Stages;
use crate::daemon::clock;
use crate::daemon::exports::Exports;
use crate::daemon::perform::World;
use crate::daemon::report::TrialReport;
use crate::domain::effect::EffectKey;
use crate::export::notice::Notice;

/// How long a batch that is under way may keep a trial waiting.
const PEER_WAIT_MAX: Duration = Duration::from_secs(130);

impl Exports {
    /// Sends one marked notice, which the entry `seq` ordered; `None`: there is no such export.
    ///
    /// # Errors
    /// When the peer is busy for too long.
    pub async fn try_out(&self, world: &Arc<World>, name: String, seq: u64) -> Result<Option<TrialReport>, String> {
        let Some((following, export)) = self.all.get(&name) else { return Ok(None) };
        let head = world.history.journal.head();
        let (key, log_head) = (EffectKey::of_trial(&world.journal_id, seq), format!("{}:{}", head.seq, head.hash));
        let pieces = [following.feed.piece(&Notice::test(&name, seq, clock::now()))];
        let batch = Batch { export: &name, pieces: &pieces, log_head: &log_head, now: clock::now() };
        let mut stages = Stages::default();
        match timeout(PEER_WAIT_MAX, following.peer.lock()).await {
            Ok(mut peer) => peer.try_out(batch, &mut stages).await,
            Err(_) => return Err("a batch is under way and does not end".into()),
        }
        let stages = stages.into_vec();
        let good = !stages.is_empty() && stages.iter().all(|stage| stage.good);
        let kind = export.peer.kind().into();
        Ok(Some(TrialReport { destination: name, kind, seq, key, good, stages }))
    }
}
