//! What several modules use: scratch folders, random numbers with a seed, children with a deadline.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ledger;

/// No run of a child takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// How much is tried: what a CI run tries, `HEADWATER_CRASH` times, up to `most`; `most` where that is `long`.
pub fn amount(ci: usize, most: usize) -> usize {
    match std::env::var("HEADWATER_CRASH").as_deref() {
        Ok("long") => most,
        Ok(times) => ci.saturating_mul(times.parse().unwrap_or(1)).min(most),
        Err(_) => ci,
    }
}

/// The seed of this run, which is printed.
pub fn seed() -> u64 {
    match std::env::var("HEADWATER_CRASH_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => seed,
        None => std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64),
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend(self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

/// A folder that is removed when the test is content with it, and left when it is not.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// In memory where there is room: what dies here are processes, never the power, and a sync costs nothing there.
    pub fn new() -> Scratch {
        let memory = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("headwater-crash-");
            builder
        };
        if room > 512 << 20
            && let Ok(dir) = builder().tempdir_in(memory)
        {
            return Scratch(dir);
        }
        Scratch(builder().tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn root(&self) -> PathBuf {
        self.path().join("store")
    }

    pub fn acks(&self) -> PathBuf {
        self.path().join("acks")
    }

    /// Leaves it for whoever looks into the failure.
    pub fn keep(self) -> PathBuf {
        self.0.keep()
    }
}

/// A program that can be the child, and the rule that is broken in it.
pub struct Program {
    pub path: PathBuf,
    pub sabotage: Option<&'static str>,
}

impl Program {
    /// This one.
    pub fn whole() -> Program {
        Program { path: std::env::current_exe().unwrap(), sabotage: None }
    }

    /// Says to `command`, which starts this program, what it is to do as a child.
    pub fn as_child(&self, command: &mut Command, scenario: &str, root: &Path, acks: &Path) {
        as_child(command, scenario, root, acks, 0);
        match self.sabotage {
            Some(what) => command.env("HEADWATER_SABOTAGE", what),
            None => command.env_remove("HEADWATER_SABOTAGE"),
        };
    }
}

/// This program, to be started again as a child.
pub fn child(scenario: &str, root: &Path, acks: &Path, arg: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_child(&mut command, scenario, root, acks, arg);
    command
}

/// Says to `command`, which starts this program, what it is to do as a child.
pub fn as_child(command: &mut Command, scenario: &str, root: &Path, acks: &Path, arg: u64) {
    command.arg(root).arg(acks).arg(arg.to_string()).env("HEADWATER_CRASH_CHILD", scenario);
}

/// Waits for a child; one that hangs is killed, and that is a failure.
pub fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        if start.elapsed() > DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("the child was still running after {DEADLINE:?}"));
        }
        pause(Duration::from_millis(1));
    }
}

#[expect(clippy::disallowed_methods, reason = "processes are looked at from outside, and killed after a time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Runs `work` on every item, on two threads, and gives back what each came to, in order.
pub fn on_two_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicU64::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let run = || {
            let mut mine = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                let Some(item) = items.get(at) else { return mine };
                mine.push((at, work(item)));
            }
        };
        let other = scope.spawn(run);
        let mut all = run();
        all.extend(other.join().unwrap());
        all
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Says what a test did; a long run also writes it into the page about such runs.
pub fn did(test: &str, what: &str, seed: u64) {
    println!("  {what}");
    ledger::note(test, what, seed);
}

/// Fails with all that went wrong, at most ten of them in full.
pub fn content_with(failures: &[String], what: &str) {
    if failures.is_empty() {
        return;
    }
    for failure in failures.iter().take(10) {
        println!("  {failure}");
    }
    panic!("{what}: {} failures", failures.len());
}
