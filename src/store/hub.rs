//! Who is to be told of commits: a mailbox for each subscriber, and the watch for commits of other processes.
//!
//! A mailbox holds no durable event: it is told that there are some, and its subscriber reads them from the store. So a
//! slow or stuck subscriber costs nothing but its mailbox, whose ephemeral items are bounded.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::checkpoint::database;
use super::commit::locked;
use super::level::Meta;
use super::subscribe::{Ephemeral, Source};
use super::writer::Answers;
use crate::model::{EventNumber, SessionId, Tx};
use crate::sqlite::reader::Reader;

/// How often the rows are looked at for commits of other processes.
const POLL: Duration = Duration::from_millis(100);
/// What a mailbox holds at most; of more, the oldest are dropped and counted.
const ITEMS: usize = 1_024;
const BYTES: usize = 1 << 20;

/// The subscribers of a store.
pub(super) struct Hub {
    root: PathBuf,
    /// The last commit that subscribers were told of.
    told: AtomicU64,
    /// How many mailboxes there are: what a commit asks when there are none.
    count: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    boxes: Vec<Arc<Mailbox>>,
    watcher: Option<JoinHandle<()>>,
    closed: bool,
}

/// Whom a group of commits concerns.
pub(super) enum News {
    /// The sessions that have new events.
    Sessions(Vec<SessionId>),
    /// Any: commits of others are among them.
    All,
}

/// An ephemeral item and when it was emitted: after which event of its session, and which commit of the store.
pub(super) struct Posted {
    pub(super) item: Arc<Ephemeral>,
    pub(super) after: EventNumber,
    pub(super) tx: Tx,
}

/// What one subscriber is to be told.
pub(super) struct Mailbox {
    /// The one session it asked for; none for all.
    session: Option<SessionId>,
    post: Mutex<Post>,
    arrived: Condvar,
    /// What it reads through; taken away when the store closes.
    pub(super) source: Mutex<Option<Source>>,
}

#[derive(Default)]
struct Post {
    /// Durable events may be there that were not read.
    news: bool,
    items: VecDeque<Posted>,
    bytes: usize,
    dropped: u64,
    waker: Option<Waker>,
    closed: bool,
}

impl Hub {
    pub(super) fn new(root: &Path, tx: Tx) -> Arc<Hub> {
        Arc::new(Hub {
            root: root.to_owned(),
            told: AtomicU64::new(tx.0),
            count: AtomicUsize::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The last commit of this store, as far as is known here.
    pub(super) fn tx(&self) -> Tx {
        Tx(self.told.load(Ordering::Acquire))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Takes in a group that was written, while it is the last one; what to tell once no lock is held.
    pub(super) fn wrote(&self, answers: &Answers) -> Option<News> {
        let written = || answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        let (first, last) = (written().min()?, written().max()?);
        let before = self.told.fetch_max(last.0, Ordering::AcqRel);
        if self.is_quiet() {
            return None;
        }
        if first.0 != before + 1 {
            // Commits of other processes lie in between.
            return Some(News::All);
        }
        let ok = answers.iter().filter(|(_, answer)| answer.is_ok());
        let guards = ok.filter_map(|(pending, _)| pending.work.guard.as_ref());
        Some(News::Sessions(guards.map(|guard| guard.session.clone()).collect()))
    }

    /// Tells the subscribers concerned. Never called while holding a lock.
    pub(super) fn publish(&self, news: &News) {
        let concerned = |mailbox: &&Arc<Mailbox>| match (news, &mailbox.session) {
            (News::All, _) => true,
            (News::Sessions(sessions), None) => !sessions.is_empty(),
            (News::Sessions(sessions), Some(session)) => sessions.contains(session),
        };
        let boxes: Vec<_> = locked(&self.state).boxes.iter().filter(concerned).cloned().collect();
        for mailbox in boxes {
            mailbox.tell(|post| post.news = true);
        }
    }

    /// Gives an ephemeral item to whoever listens now.
    pub(super) fn emit(&self, item: Arc<Ephemeral>, after: EventNumber) {
        let tx = self.tx();
        let listens = |mailbox: &&Arc<Mailbox>| mailbox.session.as_ref().is_none_or(|session| *session == item.session);
        let boxes: Vec<_> = locked(&self.state).boxes.iter().filter(listens).cloned().collect();
        for mailbox in boxes {
            mailbox.tell(|post| post.push(Posted { item: Arc::clone(&item), after, tx }));
        }
    }

    /// Adds a mailbox, and starts the watch with the first. None is added to a store that is closed.
    pub(super) fn enter(self: &Arc<Self>, session: Option<SessionId>, source: Source) -> Arc<Mailbox> {
        let mut state = locked(&self.state);
        let post = Post { news: true, closed: state.closed, ..Post::default() };
        let source = Mutex::new(Some(source).filter(|_| !state.closed));
        let mailbox = Arc::new(Mailbox { session, post: Mutex::new(post), arrived: Condvar::new(), source });
        if state.closed {
            return mailbox;
        }
        state.boxes.push(Arc::clone(&mailbox));
        self.count.store(state.boxes.len(), Ordering::Release);
        if state.watcher.is_none() {
            let hub = Arc::clone(self);
            let watch = std::thread::Builder::new().name("headwater-watch".to_owned()).spawn(move || hub.watch());
            match watch {
                Ok(thread) => state.watcher = Some(thread),
                Err(error) => tracing::warn!(%error, "no thread can watch for commits of other processes"),
            }
        }
        self.changed.notify_all();
        mailbox
    }

    /// Removes a mailbox.
    pub(super) fn leave(&self, mailbox: &Arc<Mailbox>) {
        let mut state = locked(&self.state);
        state.boxes.retain(|other| !Arc::ptr_eq(other, mailbox));
        self.count.store(state.boxes.len(), Ordering::Release);
    }

    /// Ends all subscriptions; waits for reads under way.
    pub(super) fn close(&self) {
        let (boxes, watcher) = {
            let mut state = locked(&self.state);
            state.closed = true;
            self.count.store(0, Ordering::Release);
            (std::mem::take(&mut state.boxes), state.watcher.take())
        };
        self.changed.notify_all();
        for mailbox in boxes {
            locked(&mailbox.source).take();
            mailbox.tell(|post| post.closed = true);
        }
        if let Some(watcher) = watcher
            && watcher.thread().id() != std::thread::current().id()
        {
            // A panic in it left subscribers without news of other processes, and nothing else.
            let _ = watcher.join();
        }
    }

    /// Looks for commits of other processes as long as somebody wants to know.
    fn watch(&self) {
        let mut conn: Option<Reader> = None;
        let mut state = locked(&self.state);
        while !state.closed {
            if state.boxes.is_empty() {
                // Nobody listens: nothing is held open, and nothing is asked.
                conn = None;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            conn = conn.filter(|conn| !conn.is_stale());
            if conn.is_none() {
                let opened = Reader::open(&database(&self.root));
                conn = opened.inspect_err(|error| tracing::warn!(%error, "no connection to watch for commits")).ok();
            }
            let meta = conn.as_ref().map(|conn| Meta::read(conn));
            match meta.filter(|_| !conn.as_ref().is_some_and(Reader::was_changed)) {
                Some(Ok(meta)) if meta.tx.0 > self.told.fetch_max(meta.tx.0, Ordering::AcqRel) => {
                    self.publish(&News::All);
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the rows cannot be watched for commits");
                    conn = None;
                }
                Some(Ok(_)) | None => {}
            }
            state = locked(&self.state);
            if !state.closed && !state.boxes.is_empty() {
                state = self.changed.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Post {
    fn push(&mut self, posted: Posted) {
        self.bytes += posted.item.payload.len();
        self.items.push_back(posted);
        while self.items.len() > ITEMS || self.bytes > BYTES {
            self.take();
            self.dropped += 1;
        }
    }

    fn take(&mut self) -> Option<Arc<Ephemeral>> {
        let posted = self.items.pop_front()?;
        self.bytes -= posted.item.payload.len();
        Some(posted.item)
    }
}

/// What a mailbox gives.
pub(super) enum Mail {
    Ephemeral(Arc<Ephemeral>),
    Dropped(u64),
}

impl Mailbox {
    fn post(&self) -> MutexGuard<'_, Post> {
        locked(&self.post)
    }

    fn tell(&self, change: impl FnOnce(&mut Post)) {
        let waker = {
            let mut post = self.post();
            change(&mut post);
            post.waker.take()
        };
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next ephemeral item, if it is `due`. Where items were dropped, their number comes first.
    pub(super) fn take_if(&self, due: impl FnOnce(&Posted) -> bool) -> Option<Mail> {
        let mut post = self.post();
        if !post.items.front().is_some_and(due) {
            return None;
        }
        match std::mem::take(&mut post.dropped) {
            0 => post.take().map(Mail::Ephemeral),
            dropped => Some(Mail::Dropped(dropped)),
        }
    }

    /// Whether there may be durable events to read; said once for each time it became so.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.post().news)
    }

    /// Says that there may be durable events to read.
    pub(super) fn has_news(&self) {
        self.post().news = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.post().closed
    }

    /// Waits until something arrives, until `deadline` at most.
    pub(super) fn wait(&self, deadline: Option<Instant>) {
        let mut post = self.post();
        while !post.news && post.items.is_empty() && !post.closed {
            post = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.arrived.wait(post).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return,
                Some(left) => self.arrived.wait_timeout(post, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Has `waker` woken when something arrives.
    pub(super) fn wake(&self, waker: &Waker) {
        self.post().waker = Some(waker.clone());
    }
}
