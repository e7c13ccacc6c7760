//! Rows by range against the fold of what is visible.

use std::fmt::Debug;

use crate::model::fold::Entry;
use crate::model::*;
use crate::sqlite::read::rows::Stored;
use crate::view::records::{Cursor, Range, Scope};

use super::world::World;

/// Every kind of row in `scope`, in ranges of all sorts, is what `view` says.
pub(super) fn check(world: &World, sid: i64, scope: Scope, view: &View) {
    of_kind(world, sid, scope, &view.messages);
    of_kind(world, sid, scope, &view.turns);
    of_kind(world, sid, scope, &view.calls);
    of_kind(world, sid, scope, &view.evals);
    of_kind(world, sid, scope, &view.snapshots);
    of_kind(world, sid, scope, &view.invocations);
}

fn of_kind<T: Stored + Clone + Debug + PartialEq>(world: &World, sid: i64, scope: Scope, view: &[Entry<T>]) {
    let numbers = |at: usize| view.get(at).map(|entry| entry.row.number());
    let mut turns = view.len();
    let middle = (numbers(view.len() / 3), numbers(view.len() * 2 / 3));
    for (from, to) in
        [(None, None), (middle.0, None), (None, middle.0), middle, (Some(u64::MAX), None), (None, Some(0))]
    {
        let within: Vec<_> = view
            .iter()
            .filter(|entry| from.is_none_or(|from| entry.row.number() >= from))
            .filter(|entry| to.is_none_or(|to| entry.row.number() <= to))
            .cloned()
            .collect();
        for newest_first in [false, true] {
            let mut expected = within.clone();
            if newest_first {
                expected.reverse();
            }
            turns += 1;
            let page = [1, 3, 100][turns % 3];
            let mut cursor = Cursor::open(&world.conn, sid, scope, Range { from, to, newest_first }).unwrap();
            let mut found: Vec<Entry<T>> = Vec::new();
            loop {
                let rows = cursor.page(&world.conn, page).unwrap();
                assert!(rows.len() <= page);
                if rows.is_empty() {
                    break;
                }
                found.extend(rows);
            }
            assert_eq!(found, expected, "{scope:?} {from:?} {to:?} newest first: {newest_first}, by {page}");
        }
    }
}
