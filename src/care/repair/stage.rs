//! The mended log and its rows, written beside the store.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::mend::{Step, payload};
use super::salvage::{Place, Sources};
use super::{Mended, RepairError, Report};
use crate::blob::{
    self,
    codec::{self, Class, Codec},
};
use crate::care::check::{Findings, codes, log};
use crate::journal::{Commit, Lines, TxHeader, takes_frame};
use crate::model::line::encode_record;
use crate::model::{Digest, Record, Tx};
use crate::progress::Observer;
use crate::segment::{self, Frame, Kind, Log, LogOptions, Position};
use crate::store::build;
use crate::store::error::chain;
use crate::store::swap;

/// Where a segment that is written anew is closed, in bytes.
const SEGMENT: u64 = 64 << 20;

/// The first segment that must be written anew: all before it stay, and so do the commits in them.
fn first_written(sources: &Sources, steps: &[Step]) -> u64 {
    let of = |step: &Step| match step {
        Step::Keep(place, _) => sources.number(*place),
        Step::Again(..) | Step::Anew(..) => None,
    };
    let mut last = 1;
    for step in steps {
        match of(step) {
            Some(number) => last = number,
            // It stands where the one before it stands, or should.
            None => break,
        }
    }
    let changed = if steps.iter().all(|step| of(step).is_some()) { u64::MAX } else { last };
    sources.dirty.iter().copied().min().unwrap_or(u64::MAX).min(changed)
}

/// The steps that stay where they are: how many, and where they end.
fn staying(sources: &Sources, steps: &[Step], first: u64) -> (usize, Position) {
    let mut end = Position::START;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Keep(place, tx) if sources.number(*place).is_some_and(|number| number < first) => {
                let found = sources.commits.get(&tx.0).into_iter().flatten().find(|found| found.place == *place);
                if let (Some(found), Some(number)) = (found, sources.number(*place)) {
                    end = Position::new(number, found.end);
                }
            }
            _ => return (at, end),
        }
    }
    (steps.len(), end)
}

/// The payloads of the steps that are written, and how the segments come out.
pub(super) fn count(
    sources: &Sources,
    steps: &[Step],
    made: &HashMap<Digest, Vec<u8>>,
    report: &mut Report,
) -> Result<(), RepairError> {
    let first = first_written(sources, steps);
    let (kept, end) = staying(sources, steps, first);
    report.segments_kept = end.segment;
    let (mut lost, mut bytes) = (HashSet::new(), 0);
    for step in &steps[kept..] {
        let (_, lines) = of(sources, step)?;
        for line in lines.lines.iter().filter(|line| takes_frame(&line.item)) {
            let Some(hash) = payload(&line.item) else { continue };
            if !sources.holds(&hash) && !made.contains_key(&hash) && lost.insert(hash) {
                report.payloads.lost.push(hash);
            }
        }
        bytes += lines.text_len() as u64;
    }
    report.segments_written = bytes.div_ceil(SEGMENT).max(u64::from(kept < steps.len()));
    Ok(())
}

/// Place in the journal and lines of a step.
fn of(sources: &Sources, step: &Step) -> Result<(TxHeader, Lines), RepairError> {
    let read = |place: &Place| {
        let body = sources.read_frame(*place)?.body;
        let inside = |error: crate::journal::BadCommit| RepairError::Inside(chain(&error));
        let head = Commit::decode(&body).map_err(inside)?.head;
        Ok::<_, RepairError>((head, Commit::lines(&body).map_err(inside)?))
    };
    match step {
        Step::Keep(place, _) => read(place),
        Step::Again(place, head) => Ok((head.clone(), read(place)?.1)),
        Step::Anew(head, lines) => Ok((head.clone(), lines.clone())),
    }
}

/// Writes the mended log into the stage, and rows made from it.
pub(super) fn log(root: &Path, mended: Mended) -> Result<Report, RepairError> {
    let Mended { sources, mut steps, made, mut report } = mended;
    let io = |source: std::io::Error| RepairError::Io {
        what: "the mended log cannot be written".to_owned(),
        source: Box::new(source),
    };
    let stage = swap::stage(root);
    let blobs = stage.join("blobs");
    segment::create_dir_private(&stage).map_err(io)?;
    segment::create_dir_private(&blobs).map_err(io)?;
    let first = first_written(&sources, &steps);
    let (kept, end) = staying(&sources, &steps, first);
    for number in 1..=end.segment {
        let (from, to) = (segment::segment_path(&root.join("blobs"), number), segment::segment_path(&blobs, number));
        // One file under two names: nothing is copied.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(io)?;
        }
    }
    let digest =
        steps.last().map(|step| of(&sources, step)).transpose()?.map(|(head, lines)| (lines.digest(&head), head));
    let (previous, tx, at) =
        digest.map_or((Digest::ZERO, Tx(0), Default::default()), |(digest, head)| (digest, head.tx, head.at));
    let mut done = Lines::default();
    done.push_text(&encode_record(&Record::RepairDone {
        commits: report.commits.lost,
        events: report.hurt.iter().map(|hurt| hurt.events).sum(),
        payloads: report.payloads.lost.len() as u64,
    }))
    .map_err(|error| RepairError::Inside(chain(&error)))?;
    steps.push(Step::Anew(TxHeader { tx: tx.next(), at, previous }, done));

    let adopted = |error: segment::AdoptError| RepairError::Io {
        what: "the mended log cannot be written".to_owned(),
        source: Box::new(error),
    };
    let mut out = Log::open(&blobs, LogOptions { segment_size: SEGMENT, zero_fill: false, ..LogOptions::default() })
        .map_err(io)?;
    let (mut end, mut frames, mut bytes) = (end, Vec::new(), 0);
    report.segments_written = 0;
    for step in &steps[kept..] {
        let (head, mut lines) = of(&sources, step)?;
        let taking = lines.lines.iter().filter(|line| takes_frame(&line.item));
        let wanted: Vec<Digest> = taking.filter_map(|line| payload(&line.item)).collect();
        lines.pack();
        let mut group = payload_frames(&sources, &made, &wanted, head.tx)?;
        group.push(Frame::new(Kind::Commit, 0, head.tx.0, lines.body(&head)));
        bytes += group.iter().map(|frame| frame.header.frame_len()).sum::<u64>();
        frames.append(&mut group);
        if bytes >= SEGMENT {
            end = out.adopt(end, std::mem::take(&mut frames).into_iter().map(Ok)).map_err(adopted)?.end;
            report.segments_written += 1;
            bytes = 0;
        }
    }
    if !frames.is_empty() {
        out.adopt(end, frames.into_iter().map(Ok)).map_err(adopted)?;
        report.segments_written += 1;
    }
    rows(root, &blobs)?;
    Ok(report)
}

/// The frames of a commit's payloads, in their order: packs as they are where all of one is wanted, and of other packs what is.
fn payload_frames(
    sources: &Sources,
    made: &HashMap<Digest, Vec<u8>>,
    wanted: &[Digest],
    tx: Tx,
) -> Result<Vec<Frame>, RepairError> {
    let (mut frames, mut loose, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(hash) = wanted.get(at) {
        if let Some((body, count)) = sources.whole_pack(&wanted[at..])? {
            together(&mut loose, tx, &mut frames);
            frames.push(Frame::new(Kind::Payload, Codec::PACK.0, tx.0, body));
            at += count;
            continue;
        }
        at += 1;
        if sources.is_packed(hash)
            && let Some(bytes) = sources.bytes(hash)?
        {
            loose.push((*hash, bytes));
            continue;
        }
        together(&mut loose, tx, &mut frames);
        let (codec, body) = match (made.get(hash), sources.frame_of(hash)?) {
            (Some(bytes), _) => {
                let (codec, body) = codec::encode(bytes, Class::Payload);
                (codec, body.into_owned())
            }
            (None, Some(frame)) => frame,
            (None, None) => (Codec::LOST, Vec::new()),
        };
        frames.push(Frame::new(Kind::Payload, codec.0, tx.0, body));
    }
    together(&mut loose, tx, &mut frames);
    Ok(frames)
}

/// Puts neighbours that were in packs into packs again.
fn together(loose: &mut Vec<(Digest, Vec<u8>)>, tx: Tx, frames: &mut Vec<Frame>) {
    let sources: Vec<_> = loose.iter().map(|(hash, bytes)| (*hash, bytes.as_slice(), Class::Payload)).collect();
    let prepared = blob::prepare_dense(&sources);
    let bodies = prepared.into_iter().filter_map(|one| one.body.map(|body| (one.codec, body)));
    frames.extend(bodies.map(|(codec, body)| Frame::new(Kind::Payload, codec.0, tx.0, body)));
    loose.clear();
}

/// Makes rows from the log in `blobs`, into the stage, and has both pass the check.
pub(super) fn rows(root: &Path, blobs: &Path) -> Result<(), RepairError> {
    let stage = swap::stage(root);
    segment::create_dir_private(&stage)
        .map_err(|source| RepairError::Io { what: "the stage cannot be made".to_owned(), source: Box::new(source) })?;
    let (meta, rebuilt) = build::make_rows(root, &stage.join("store.sqlite"), blobs, &Observer::default())
        .map_err(|error| RepairError::Rows(Box::new(error)))?;
    if !rebuilt.beyond_gap.is_empty() {
        return Err(RepairError::Inside(format!("segments {:?} lie beyond a gap", rebuilt.beyond_gap)));
    }
    let mut found = Findings::default();
    log::go_through(blobs, Some(&meta), &Observer::default(), &mut found);
    found.refused()?;
    match found.issues.iter().find(|issue| issue.code != codes::PAYLOAD_LOST.name) {
        Some(issue) => Err(RepairError::Inside(format!("{} {}", issue.code, issue.place))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::pack;

    /// What is left of a pack is a pack again, and too few for one have frames of their own.
    #[test]
    fn what_is_left_of_a_pack_stays_together() {
        let texts: Vec<Vec<u8>> = (0..9_u8).map(|n| vec![n; usize::from(n) * 40]).collect();
        for count in [0, 3, 9] {
            let mut loose: Vec<_> = texts[..count].iter().map(|text| (Digest::of(text), text.clone())).collect();
            let mut frames = Vec::new();
            together(&mut loose, Tx(7), &mut frames);
            assert!(loose.is_empty() && frames.iter().all(|frame| frame.header.group == 7));
            if count < 9 {
                assert_eq!(frames.len(), count);
                continue;
            }
            assert_eq!((frames.len(), frames[0].header.codec), (1, Codec::PACK.0));
            assert_eq!(pack::unpack(&frames[0].body).unwrap(), texts.concat());
            assert_eq!(pack::directory(&frames[0].body).unwrap().len(), 9);
        }
    }
}
