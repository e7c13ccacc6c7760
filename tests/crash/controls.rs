//! To come.
pub fn a_lost_commit_is_reported() {}
pub fn skipped_adoption_is_reported() {}
pub fn a_false_acknowledgement_is_reported() {}
pub fn a_batch_in_part_is_reported() {}
