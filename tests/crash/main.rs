//! Processes that die, disks that fail: what was acknowledged is still there.
//!
//! The story of every test here: this program starts itself again as a *child* that works on a store, and that notes
//! each commit in a file outside of the store once the library has acknowledged it (`acks`, `steps`). The child is
//! stopped somewhere: at one system call (`kill`), at a random time among others (`loops`), or by a call that fails
//! (`faults`, `disk`). Then the store is opened with the library as it is (`verify`): every commit in the notes is
//! there, no batch is there in part, heads and payloads read as they did, a deep check finds nothing, and every session
//! can be written again. `controls` damages stores by hand and wants to be told, so that a verifier that sees nothing
//! is itself seen.
//!
//! `HEADWATER_CRASH=long` runs every point and many more rounds; `HEADWATER_CRASH_SEED` repeats a run by the seed it
//! printed; what failed is left in the folder that the failure names. The tests run one after another, so that the
//! ones that measure time are alone, and each prints what it counted.

mod acks;
mod child;
mod controls;
mod copies;
mod disk;
mod faults;
mod kill;
#[path = "../support/ledger.rs"]
mod ledger;
mod loops;
mod many;
#[path = "../support/note.rs"]
mod note;
mod points;
mod sabotage;
mod states;
mod steps;
mod strace;
mod template;
mod tools;
mod verify;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

/// Every test, in the order they run.
const TESTS: [(&str, fn()); 18] = [
    ("controls::a_lost_commit_is_reported", controls::a_lost_commit_is_reported),
    ("controls::skipped_adoption_is_reported", controls::skipped_adoption_is_reported),
    ("controls::a_false_acknowledgement_is_reported", controls::a_false_acknowledgement_is_reported),
    ("controls::a_batch_in_part_is_reported", controls::a_batch_in_part_is_reported),
    ("states::after_a_power_loss_at_any_step", states::after_a_power_loss_at_any_step),
    ("sabotage::a_held_session_is_refused", sabotage::a_held_session_is_refused),
    ("sabotage::every_broken_rule_is_noticed", sabotage::every_broken_rule_is_noticed),
    ("kill::at_every_system_call", kill::at_every_system_call),
    ("kill::a_backup_between_its_renames", kill::a_backup_between_its_renames),
    ("kill::one_of_two_processes", kill::one_of_two_processes),
    ("loops::killed_at_random_times", loops::killed_at_random_times),
    ("loops::a_survivor_takes_over", loops::a_survivor_takes_over),
    ("many::sixteen_processes_at_once", many::sixteen_processes_at_once),
    ("many::thirty_two_processes_at_once", many::thirty_two_processes_at_once),
    ("many::two_processes_share", many::two_processes_share),
    ("faults::a_call_that_fails_once", faults::a_call_that_fails_once),
    ("faults::calls_that_fail_from_then_on", faults::calls_that_fail_from_then_on),
    ("disk::a_full_disk", disk::a_full_disk),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(scenario) = std::env::var_os("HEADWATER_CRASH_CHILD") {
        return child::run(&scenario.to_string_lossy(), &args);
    }
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let exact = args.iter().any(|arg| arg == "--exact");
    let mut failed = Vec::new();
    for (name, test) in TESTS {
        let fits = |want: &&String| if exact { *want == name } else { name.contains(want.as_str()) };
        if !wanted.is_empty() && !wanted.iter().any(fits) {
            continue;
        }
        let start = Instant::now();
        let ended = catch_unwind(test);
        println!("test {name} ... {} ({:.1?})", if ended.is_ok() { "ok" } else { "FAILED" }, start.elapsed());
        if ended.is_err() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}
