//! Reads standard input, one record a line, until it ends.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch as signal;

use crate::domain::record::{Position, Record};
use crate::sources::intake::{Counters, Intake, count};
use crate::sources::lines::{Line, Lines};
use crate::sources::{Ended, SourceError, stopped};

/// Bytes read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// Reads until the end of `input`, or until `stop` turns true. A last line without a line end counts.
pub(super) async fn run(
    name: Arc<str>,
    input: impl AsyncRead + Unpin,
    intake: Intake,
    counters: Arc<Counters>,
    mut stop: signal::Receiver<bool>,
) -> Result<Ended, SourceError> {
    let reader = Reader { name, intake, counters, line_no: 0 };
    tokio::select! {
        biased;
        () = stopped(&mut stop) => Ok(Ended::Stopped),
        ended = reader.read(input) => ended,
    }
}

struct Reader {
    name: Arc<str>,
    intake: Intake,
    counters: Arc<Counters>,
    line_no: u64,
}

impl Reader {
    async fn read(mut self, mut input: impl AsyncRead + Unpin) -> Result<Ended, SourceError> {
        let mut lines = Lines::default();
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = input.read(&mut block).await;
            let read = read.map_err(|cause| SourceError::Stdin { source_name: self.name.clone(), cause })?;
            if read == 0 {
                break;
            }
            let mut at = 0;
            while let Some(line) = lines.next(&block[..read], &mut at) {
                self.hand_over(line).await?;
            }
        }
        if let Some(line) = lines.rest() {
            self.hand_over(line).await?;
        }
        Ok(Ended::Finished)
    }

    async fn hand_over(&mut self, mut line: Line) -> Result<(), SourceError> {
        self.line_no += 1;
        if self.line_no == 1 && line.bytes.starts_with(b"\xEF\xBB\xBF") {
            line.bytes.drain(..3);
        }
        if line.is_blank() {
            return Ok(());
        }
        if line.cut {
            count(&self.counters.oversized);
        }
        self.counters.record(line.bytes.len());
        let position = Position::Stdin { line: self.line_no };
        let record = Record { source: self.name.clone(), bytes: line.bytes, position };
        let sent = self.intake.send(record).await;
        sent.map_err(|cause| SourceError::Closed { source_name: self.name.clone(), cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::intake::{Limits, Offer};
    use tokio::sync::mpsc;

    async fn feed(input: &[u8]) -> (Vec<(u64, Vec<u8>)>, Ended) {
        let (intake, mut taken) = Intake::new(Limits::default());
        let (_keep, stop) = signal::channel(false);
        let ended = run("pipe".into(), input, intake, Arc::default(), stop).await.unwrap();
        (drain(&mut taken), ended)
    }

    fn drain(taken: &mut mpsc::Receiver<Offer>) -> Vec<(u64, Vec<u8>)> {
        let mut found = Vec::new();
        while let Ok(offer) = taken.try_recv() {
            let Position::Stdin { line } = offer.record.position else { panic!() };
            found.push((line, offer.record.bytes));
        }
        found
    }

    #[tokio::test]
    async fn one_record_a_line_until_the_end() {
        let (found, ended) = feed(b"\xEF\xBB\xBF{\"a\":1}\r\n\n{\"b\":2}\nhalf").await;
        assert_eq!(found, [(1, b"{\"a\":1}".to_vec()), (3, b"{\"b\":2}".to_vec()), (4, b"half".to_vec())]);
        assert_eq!(ended, Ended::Finished);
        assert_eq!(feed(b"").await, (vec![], Ended::Finished));
    }

    #[tokio::test]
    async fn hostile_lines_are_handed_over_and_the_next_good_one_follows() {
        for (name, body) in crate::sources::hostile::bodies() {
            let lines = body.split(|byte| *byte == b'\n').count() as u64;
            let (found, _) = feed(&[&body[..], b"\n{\"good\":1}\n"].concat()).await;
            assert_eq!(found.last(), Some(&(lines + 1, b"{\"good\":1}".to_vec())), "{name}");
            assert!(found.iter().all(|(_, bytes)| bytes.len() <= crate::domain::record::RECORD_BYTES_MAX), "{name}");
        }
    }

    #[tokio::test]
    async fn a_pipe_that_stays_open_stops_when_told() {
        let (intake, mut taken) = Intake::new(Limits::default());
        let (tell, stop) = signal::channel(false);
        let (mut writer, reader) = tokio::io::duplex(64);
        let running = tokio::spawn(run("pipe".into(), reader, intake, Arc::default(), stop));
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"{}\n").await.unwrap();
        assert_eq!(taken.recv().await.unwrap().record.bytes, b"{}");
        tell.send(true).unwrap();
        assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
    }
}
