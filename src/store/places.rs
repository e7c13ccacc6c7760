//! Where payloads read before are: spares the look-up in the rows.

use std::collections::HashMap;
use std::sync::Mutex;

use super::commit::locked;
use crate::blob::Place;
use crate::model::Digest;

/// Places remembered at most, some 80 bytes each.
const KEPT: usize = 16_384;

/// The places of payloads read before. A place is a hint: what is read there is verified by checksum and digest, and
/// where that fails the rows are asked, which know what was erased or moved since.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<Digest, Place>>);

impl Places {
    pub(super) fn get(&self, digest: &Digest) -> Option<Place> {
        locked(&self.0).get(digest).copied()
    }

    pub(super) fn keep(&self, digest: Digest, place: Place) {
        let mut places = locked(&self.0);
        if places.len() >= KEPT {
            // What is asked for again comes back at the cost of one look-up.
            places.clear();
        }
        places.insert(digest, place);
    }

    pub(super) fn forget(&self, digest: &Digest) {
        locked(&self.0).remove(digest);
    }
}
