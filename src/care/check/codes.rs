//! Each kind of damage: its code, what it means, what to do. docs/CHECK.md shows this table.

/// A kind of damage that a check can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The word that stands in a report.
    pub name: &'static str,
    /// What is so.
    pub what: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

const ROWS: &str = "the log has it: `headwater repair` makes the rows again";
const LOG: &str = "`headwater repair` shows what can be mended from rows and copies; a backup may hold the rest";
const GONE: &str = "bring the bytes back by putting the same payload again, or live without it: what names it stays";
const THEIRS: &str = "restore what others changed, or repair: `headwater repair` keeps what both witnesses agree on";

macro_rules! codes {
    ($($id:ident, $name:literal, $what:literal, $advice:expr;)*) => {
        $(pub(in crate::care) const $id: Code = Code { name: $name, what: $what, advice: $advice };)*

        /// Every code that a check can report.
        pub const CODES: &[Code] = &[$($id),*];
    };
}

codes! {
    FILE_OPEN, "file-open-to-others", "others than the owner may write a file of the store", "`chmod -R go= DIR` on the store's folder";
    FILE_OWNER, "file-owner", "a file belongs to another user than the store's folder", "`chown -R USER DIR` as root, with the user the store is used by";
    FILE_LINK, "file-link", "a symbolic link lies below the store's folder", "put the file itself in the link's place: links are never followed";
    FILE_STRAY, "file-stray", "something in `blobs/` that is no segment", "move it elsewhere; nothing reads it";

    REPAIR_CUT_OFF, "repair-cut-off", "a repair was cut off before its end", "open the store: it is brought to its end";

    DATABASE_MISSING, "database-missing", "there is no `store.sqlite`", "open the store: the rows are rebuilt from the log";
    DATABASE_JOURNAL, "database-journal", "a rollback journal lies beside `store.sqlite`: SQLite would undo with it what the database holds", "open the store: the rows are rebuilt from the log, database and journal set aside";
    DATABASE_UNREADABLE, "database-unreadable", "`store.sqlite` is no database that can be read", ROWS;
    DATABASE_CORRUPT, "database-corrupt", "SQLite's own check finds a page or index that is not whole", ROWS;
    SCHEMA_DIFFERS, "schema-differs", "a table, index or view is not as the migrations made it", ROWS;
    ROW_DIFFERS, "row-differs", "a row is not the one that the log makes", ROWS;
    ROW_MISSING, "row-missing", "a row that the log makes is not there", ROWS;
    ROW_EXTRA, "row-extra", "a row that no commit of the log makes", ROWS;

    LOG_UNREADABLE, "log-unreadable", "the folder `blobs/` cannot be read", "look at the permissions of `blobs/`, and at the system's own log";
    LOG_SHORT, "log-short", "the log ends before what the rows know", LOG;
    LOG_CONTRADICTS, "log-contradicts", "the log's frames are whole, and no rows can be made from what they say", LOG;
    SEGMENT_MISSING, "segment-missing", "the file of a segment is not there", LOG;
    SEGMENT_DAMAGED, "segment-damaged", "the header of a segment is not whole, or the file is none", LOG;
    SEGMENT_CHAIN, "segment-chain", "a segment follows another one than that before it", LOG;
    FRAME_DAMAGED, "frame-damaged", "a frame fails its checksums: what follows it in its segment cannot be read in order", LOG;
    COMMIT_DAMAGED, "commit-damaged", "a commit's frame is whole, and its lines cannot be read", LOG;
    COMMIT_CHAIN, "commit-chain", "a commit does not follow the one before it, by number or digest", LOG;
    EVENT_ORDER, "event-order", "a session's events have a gap or a repetition", LOG;
    PAYLOAD_DAMAGED, "payload-damaged", "a payload's bytes are not those its hash names", LOG;
    PAYLOAD_PARTS, "payload-parts", "a large payload's parts are missing, or do not make what its hash names", LOG;
    PAYLOAD_LOST, "payload-lost", "a repair found the bytes of a payload nowhere", GONE;
    HEAD_ROOT, "head-root", "a head's root is missing, cannot be read, or is of another boundary", LOG;
    HEAD_DIGEST, "head-digest", "the events up to a head's boundary are not those it was sealed over", LOG;

    COMMIT_COUNT, "commit-count", "the commits in the rows have a gap, or end elsewhere than the rows say", ROWS;
    CURRENT_HEAD, "current-head", "a session's current head is none of its own, or not the one it was last moved to", ROWS;
    LAST_EVENT, "last-event", "a session's events have a gap, or end elsewhere than its row says", ROWS;
    EVENT_ROW, "event-row", "an event without the row it writes, or a row without its event", ROWS;
    CACHE_ID, "cache-id", "a cache id that is empty or holds control characters", ROWS;
    HEAD_SESSION, "head-session", "a head whose session, or whose `head/created`, is not there", ROWS;
    HEAD_BASIS, "head-basis", "the head that a head was built on is not there", ROWS;
    HEAD_UP, "head-up", "the head at which a head's branch left is not there, or at another depth", ROWS;
    HEAD_COMPACTION, "head-compaction", "a head names a compaction that is not there, or is none", ROWS;
    HEAD_SPAN, "head-span", "a head's own span does not end at the event before its `head/created`", ROWS;
    HEAD_SNAPSHOT, "head-snapshot", "a head names a snapshot or variables that are not there, or not that snapshot's", ROWS;
    HEAD_FINAL, "head-final", "a head's final value is not there", ROWS;
    TABLED_SPANS, "tabled-spans", "the table of a session's spans is not that of its current head", ROWS;
    DERIVATION_END, "derivation-end", "the source head, or the target session or event, of a derivation is not there", ROWS;
    ATTACH_SOURCE, "attach-source", "a session that was made from a head has no derivation from it", ROWS;
    INVOCATION_END, "invocation-end", "a session or head that an invocation names is not there", ROWS;
    INVOCATION_TYPE, "invocation-type", "an invocation's type is empty, too long, or no word", ROWS;
    INVOCATION_CALL, "invocation-call", "the call that an invocation stands for is not there", ROWS;
    CALL_CHILD, "call-child", "a child's call ended well, and neither the session it opened nor an invocation of it is there", ROWS;
    ALIAS_TARGET, "alias-target", "an alias points to a session that is not there", ROWS;
    PIN_TARGET, "pin-target", "a pin points to a payload or head that is not there", ROWS;
    FACT_PAYLOAD, "fact-payload", "the value of an embedder's fact is not there", ROWS;
    LEASE_ROW, "lease-row", "a writer's lease that no writer could have written, or of a session that is not there", ROWS;
    PAYLOAD_PLACE, "payload-place", "a payload's row names no place, or one beyond the end of the log", ROWS;

    ANCHOR_STORE, "anchor-store", "the anchor is of another store, or of one that was rewritten as a whole", THEIRS;
    ANCHOR_BEHIND, "anchor-behind", "the store ends before the anchor was taken: it was rolled back", "find out who put an older copy in its place; a newer backup may hold the rest";
    ANCHOR_HEAD, "anchor-head", "a head of the anchor is not in the store, or stands for another history", THEIRS;
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn codes_are_told_apart() {
        let mut names: Vec<_> = CODES.iter().map(|code| code.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CODES.len());
        assert!(CODES.iter().all(|code| !code.what.is_empty() && !code.advice.is_empty()));
    }
}
