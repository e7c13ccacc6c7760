//! Which power losses are tried after each step: what of the unsynced is kept, and what of it in part.

use super::super::tools::Random;
use super::trace::{Node, Op};
use super::volume::Volume;

/// What a disk is thought capable of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Whatever was not synced may be lost, each thing by itself; names only count once their folder was synced.
    Strict,
    /// As ext4 does it with ordered data: names change in order, and any sync makes those before it durable; a file is
    /// never longer than its data; only what is overwritten comes in any order.
    Ordered,
}

/// Of several steps, those that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    All,
    Nothing,
    But(usize),
    Only(usize),
    /// Up to that step.
    Until(usize),
    /// So many of eight, at random.
    Some {
        seed: u64,
        of_eight: u64,
    },
}

impl Keep {
    fn keeps(self, step: usize) -> bool {
        match self {
            Keep::All => true,
            Keep::Nothing => false,
            Keep::But(one) => step != one,
            Keep::Only(one) => step == one,
            Keep::Until(last) => step <= last,
            Keep::Some { seed, of_eight } => mixed(seed, step as u64) % 8 < of_eight,
        }
    }
}

fn mixed(seed: u64, value: u64) -> u64 {
    Random(seed ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next()
}

/// Which sectors of one write are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sectors {
    Head(u64),
    Tail(u64),
    But(u64),
    Only(u64),
    Some(u64),
    /// None, and yet the file is longer.
    LengthAlone,
}

/// One write, kept in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tear {
    pub step: usize,
    pub sectors: Sectors,
}

impl Tear {
    pub fn keeps(&self, sector: u64) -> bool {
        match self.sectors {
            Sectors::Head(end) => sector < end,
            Sectors::Tail(from) => sector >= from,
            Sectors::But(one) => sector != one,
            Sectors::Only(one) => sector == one,
            Sectors::Some(seed) => mixed(seed, sector).is_multiple_of(2),
            Sectors::LengthAlone => false,
        }
    }
}

/// What becomes of a file's length when it is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Whole,
    /// As far as there is data.
    AsNeeded,
    AsItWas,
}

/// One power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub model: Model,
    data: Keep,
    names: Keep,
    /// Of what makes files longer or shorter; the strict model takes it for data.
    lengths: Lengths,
    tear: Option<Tear>,
    /// Whether the times of files are those of their last sync, whatever was written since.
    pub old_times: bool,
}

/// How far the lengths of files have come to the disk, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    All,
    Nothing,
    /// Up to a step between these two, another for each file.
    Each {
        seed: u64,
        from: usize,
        to: usize,
    },
}

impl Lengths {
    fn keeps(self, step: usize, node: Node) -> bool {
        match self {
            Lengths::All => true,
            Lengths::Nothing => false,
            Lengths::Each { seed, from, to } => {
                let span = to.saturating_sub(from) as u64 + 1;
                step < from + (mixed(seed, node as u64) % span) as usize
            }
        }
    }
}

impl Plan {
    fn strict(data: Keep, names: Keep) -> Plan {
        Plan { model: Model::Strict, data, names, lengths: Lengths::All, tear: None, old_times: false }
    }

    pub fn keeps_name(&self, step: usize, unordered_from: usize) -> bool {
        (self.model == Model::Ordered && step < unordered_from) || self.names.keeps(step)
    }

    pub fn keeps_data(&self, step: usize, op: &Op) -> bool {
        match (self.model, op) {
            (Model::Ordered, Op::Write { node, extends: true, .. } | Op::Resize { node, .. }) => {
                self.lengths.keeps(step, *node)
            }
            _ => self.data.keeps(step),
        }
    }

    pub fn tears(&self, step: usize) -> Option<&Tear> {
        self.tear.as_ref().filter(|tear| tear.step == step)
    }

    /// The length after a write that is kept in part.
    pub fn length(&self, op: &Op, tear: &Tear) -> Length {
        match (self.model, op) {
            (Model::Strict, _) if tear.sectors == Sectors::LengthAlone => Length::Whole,
            (Model::Ordered, Op::Write { extends: false, .. }) => Length::AsItWas,
            _ => Length::AsNeeded,
        }
    }

    /// The length after a write that is kept.
    pub fn whole_length(&self, op: &Op) -> Length {
        match (self.model, op) {
            (Model::Ordered, Op::Write { extends: false, .. }) => Length::AsItWas,
            _ => Length::Whole,
        }
    }
}

/// The power losses to try on this disk; `more` times as many of those that are random.
pub fn plans(disk: &Volume<'_>, last_is_write: bool, random: &mut Random, more: usize) -> Vec<Plan> {
    let mut plans = strict(disk, last_is_write, random, more);
    plans.extend(ordered(disk, last_is_write, random, more));
    for plan in &mut plans[1..] {
        plan.old_times = random.below(2) == 0;
    }
    plans.push(Plan { old_times: true, ..plans[0] });
    plans
}

fn strict(disk: &Volume<'_>, last_is_write: bool, random: &mut Random, more: usize) -> Vec<Plan> {
    let (data, names) = (&disk.data_pending, &disk.names_pending);
    let mut plans = vec![
        Plan::strict(Keep::All, Keep::All),
        Plan::strict(Keep::Nothing, Keep::Nothing),
        Plan::strict(Keep::Nothing, Keep::All),
        Plan::strict(Keep::All, Keep::Nothing),
    ];
    for name in names.iter().rev().take(12) {
        plans.push(Plan::strict(Keep::All, Keep::But(*name)));
        plans.push(Plan::strict(Keep::All, Keep::Only(*name)));
    }
    let mut some: Vec<usize> = data.iter().rev().take(6).chain(data.iter().take(2)).copied().collect();
    some.sort_unstable();
    some.dedup();
    some.extend((0..2 * more).filter_map(|_| pick(data, random)));
    for step in some {
        plans.push(Plan::strict(Keep::But(step), Keep::All));
        plans.push(Plan::strict(Keep::Only(step), Keep::All));
    }
    if last_is_write {
        for tear in tears(disk, disk.at - 1, random, more) {
            plans.push(Plan { tear: Some(tear), ..Plan::strict(Keep::All, Keep::All) });
        }
    }
    for _ in 0..4 * more {
        let names = if random.below(3) == 0 { any(random) } else { Keep::All };
        let tear = pick(data, random).and_then(|step| tears(disk, step, random, 1).first().copied());
        let tear = tear.filter(|_| random.below(2) == 0);
        plans.push(Plan { tear, ..Plan::strict(any(random), names) });
    }
    plans
}

fn ordered(disk: &Volume<'_>, last_is_write: bool, random: &mut Random, more: usize) -> Vec<Plan> {
    let data = &disk.data_pending;
    let mut names: Vec<Keep> = vec![Keep::All];
    let mut waiting = disk.names_pending.iter().filter(|step| **step >= disk.names_unordered_from);
    if let Some(first) = waiting.next() {
        names.push(Keep::Nothing);
        names.push(Keep::Until(*first));
        names.extend(waiting.rev().take(6).map(|step| Keep::Until(*step)));
    }
    let (from, to) = (data.first().copied().unwrap_or(0), disk.at);
    let mut plans = Vec::new();
    for names in names {
        let mut add = |data: Keep, lengths: Lengths, tear: Option<Tear>| {
            plans.push(Plan { model: Model::Ordered, data, names, lengths, tear, old_times: false });
        };
        add(Keep::All, Lengths::All, None);
        if data.is_empty() {
            continue;
        }
        add(Keep::Nothing, Lengths::Nothing, None);
        add(Keep::Nothing, Lengths::All, None);
        add(Keep::All, Lengths::Nothing, None);
        for _ in 0..3 * more {
            let lengths = match random.below(3) {
                0 => Lengths::All,
                _ => Lengths::Each { seed: random.next(), from, to },
            };
            let step = if last_is_write && random.below(2) == 0 { Some(disk.at - 1) } else { pick(data, random) };
            let tear = step.and_then(|step| tears(disk, step, random, 1).first().copied());
            add(any(random), lengths, tear.filter(|_| random.below(2) == 0));
        }
    }
    plans
}

fn any(random: &mut Random) -> Keep {
    Keep::Some { seed: random.next(), of_eight: 1 + random.below(7) }
}

fn pick(steps: &[usize], random: &mut Random) -> Option<usize> {
    steps.get(random.below(steps.len() as u64) as usize).copied()
}

/// Ways in which one write is kept in part, in random order.
fn tears(disk: &Volume<'_>, step: usize, random: &mut Random, more: usize) -> Vec<Tear> {
    let Some(sectors) = disk.sectors(step) else { return Vec::new() };
    let mut ways = vec![Sectors::LengthAlone];
    if sectors > 1 {
        for _ in 0..2 * more {
            let at = 1 + random.below(sectors - 1);
            ways.extend([Sectors::Head(at), Sectors::Tail(at), Sectors::But(at), Sectors::Only(at)]);
            ways.extend([Sectors::But(0), Sectors::Some(random.next())]);
        }
    }
    for at in (1..ways.len()).rev() {
        ways.swap(at, random.below(at as u64 + 1) as usize);
    }
    ways.into_iter().map(|sectors| Tear { step, sectors }).collect()
}
