//! Defects built in on purpose: a test that is to find one has to be seen finding it.
//!
//! Only with the feature `sabotage`, which nothing turns on but the controls of `tests/crash`, does the environment
//! variable `HEADWATER_SABOTAGE` name one. Without it every question here is answered with a constant.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A segment's bytes are not synced.
    SegmentSync,
    /// A folder's names are not synced.
    FolderSync,
    /// Rows are committed before the log holds their frames.
    CommitFirst,
    /// A commit is acknowledged before its sync.
    AcknowledgedFirst,
    /// Frames are taken for good whatever their checksum says.
    Checksum,
    /// What a dead writer left is not adopted, but superseded.
    Adoption,
    /// What is whole of a dead writer's frames is adopted where it lies, the rest cut off, and the segment continued.
    AppendAfterCut,
    /// Whoever asks may write a session.
    Lease,
}

#[cfg(not(feature = "sabotage"))]
mod off {
    use super::Sabotage;

    /// Whether that rule is to be broken: never.
    #[inline]
    pub(crate) const fn is(_: Sabotage) -> bool {
        false
    }

    /// Nothing, since nobody asks for it.
    pub(crate) const fn sync_later(_: &std::fs::File) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "sabotage")]
mod on {
    use std::fs::File;
    use std::io;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::Sabotage;

    /// Whether that rule is to be broken.
    pub(crate) fn is(what: Sabotage) -> bool {
        static NAMED: OnceLock<Option<String>> = OnceLock::new();
        let named = NAMED.get_or_init(|| std::env::var("HEADWATER_SABOTAGE").ok());
        named.as_deref() == Some(name(what))
    }

    fn name(what: Sabotage) -> &'static str {
        match what {
            Sabotage::SegmentSync => "segment-sync",
            Sabotage::FolderSync => "folder-sync",
            Sabotage::CommitFirst => "commit-first",
            Sabotage::AcknowledgedFirst => "acknowledged-first",
            Sabotage::Checksum => "checksum",
            Sabotage::Adoption => "adoption",
            Sabotage::AppendAfterCut => "append-after-cut",
            Sabotage::Lease => "lease",
        }
    }

    /// Syncs the file that was to be synced the last time, and leaves this one for the next.
    pub(crate) fn sync_later(file: &File) -> io::Result<()> {
        static WAITING: Mutex<Option<File>> = Mutex::new(None);
        let before = WAITING.lock().unwrap_or_else(PoisonError::into_inner).replace(file.try_clone()?);
        before.map_or(Ok(()), |file| file.sync_data())
    }
}

#[cfg(not(feature = "sabotage"))]
pub(crate) use off::{is, sync_later};
#[cfg(feature = "sabotage")]
pub(crate) use on::{is, sync_later};
