//! Reads a body within its limits of time, size and memory, and undoes gzip.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sources::http::BODY_BYTES_MAX;
use crate::sources::http::reply::Fault;

/// How many times larger than sent a body may become.
const RATIO_MAX: usize = 100;

/// Up to here the ratio does not matter.
const RATIO_FREE_BYTES: usize = 64 * 1024;

/// What is read of a body that is refused, so that the sender gets to read why.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body in memory; its room is given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    pub bytes: Vec<u8>,
    room: Room,
}

#[derive(Debug)]
struct Room {
    bodies: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        let bytes = u32::try_from(bytes).map_err(|_| Fault::body_too_large())?;
        let more = self.bodies.clone().try_acquire_many_owned(bytes).map_err(|_| Fault::Busy)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// Reads a body as sent. What it says about its length is not trusted: its bytes are counted.
pub async fn read(body: &mut Body, bodies: Arc<Semaphore>, limit: Duration) -> Result<Held, Fault> {
    let mut held = Held { bytes: Vec::new(), room: Room { bodies, held: None } };
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Fault::Broken(root(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            if held.bytes.len() + data.len() > BODY_BYTES_MAX {
                return Err(Fault::body_too_large());
            }
            held.room.take(data.len())?;
            held.bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    tokio::time::timeout(limit, reading).await.unwrap_or(Err(Fault::Slow))?;
    Ok(held)
}

/// Reads and forgets the rest of a refused body: a connection that is closed with bytes unread is reset, and the
/// sender may never see the answer.
pub async fn drain(body: &mut Body) {
    let mut left = DRAIN_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len());
            if bytes > left {
                return;
            }
            left -= bytes;
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

impl Held {
    /// Undoes gzip, as far as size and ratio allow.
    pub fn gunzip(mut self) -> Result<Self, Fault> {
        let sent = self.bytes.len();
        let mut plain = Vec::new();
        let mut decoder = MultiGzDecoder::new(self.bytes.as_slice());
        let mut block = vec![0; 64 * 1024];
        loop {
            let read = decoder.read(&mut block).map_err(|error| Fault::Broken(format!("gzip: {error}")))?;
            if read == 0 {
                break;
            }
            let bytes = plain.len() + read;
            if bytes > BODY_BYTES_MAX {
                return Err(Fault::body_too_large());
            }
            if bytes > RATIO_FREE_BYTES && bytes > sent.saturating_mul(RATIO_MAX) {
                return Err(Fault::TooLarge(format!("the body unpacks to more than {RATIO_MAX} times its size")));
            }
            self.room.take(read)?;
            plain.extend_from_slice(&block[..read]);
        }
        self.bytes = plain;
        Ok(self)
    }
}

/// The innermost cause: the outer ones only say that there was one.
fn root(error: &axum::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
