//! Replicas that crash and restart over the judgement, in virtual time: threads with long and short
//! steps, threads that kill their process, and processes that are killed from outside. Thousands of
//! deaths take seconds; `judged` says what must hold.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::suspicion::{Evidence, Suspicion, Verdict, WINDOW};
use super::turns::Turns;
use crate::model::Incarnation;

/// The time from a claim to the start of a step, at the least.
pub(super) const LATENCY: u64 = 30;
/// The time between two signs of life.
pub(super) const BEAT: u64 = 250;
/// The number of seeds of each scenario: without optimisation each takes a while. Five hundred of each
/// hold as well.
pub(super) const SEEDS: u64 = 6;
/// The limit of losses, as by default.
pub(super) const LIMIT: u32 = 5;
/// The beginning of each simulation.
pub(super) const START: u64 = 1_000_000;

/// A seeded generator (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    pub(super) fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX).next_up()
    }

    /// A time until the next of events that come at random, so long apart on average.
    pub(super) fn wait(&mut self, mean: u64) -> u64 {
        let times = -(1.0 - self.unit()).ln();
        u64::try_from(std::time::Duration::from_millis(mean).mul_f64(times).as_millis()).unwrap()
    }
}

/// How a thread behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its steps take so long.
    Innocent(u64),
    /// It kills its process so long after its step's start.
    Kills(u64),
    /// It kills its process at some time within so long.
    KillsWithin(u64),
    /// It kills its process while it is loaded.
    KillsLoading,
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) kind: Kind,
    pub(super) steps_left: u32,
    pub(super) owner: Incarnation,
    pub(super) suspicion: Option<Suspicion>,
    /// Changes with everything that becomes of the thread: earlier moments are void then.
    pub(super) turn: u64,
    pub(super) driven: bool,
    /// When its wait here ends at the latest.
    pub(super) patience: u64,
    pub(super) waits_since: Option<u64>,
    pub(super) longest_wait: u64,
    pub(super) paused: bool,
    pub(super) done: bool,
}

impl Thread {
    pub(super) fn new(kind: Kind, steps: u32) -> Self {
        Self {
            kind,
            steps_left: steps,
            owner: 0,
            suspicion: None,
            turn: 0,
            driven: false,
            patience: 0,
            waits_since: None,
            longest_wait: 0,
            paused: false,
            done: false,
        }
    }
}

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    Up(usize),
    Claim(usize, Incarnation),
    Judge(usize, u64),
    Turn(usize, u64),
    Trial(usize, u64),
    Alone(usize, u64),
    Begun(usize, u64),
    StepEnd(usize, u64),
    Acquit(usize, u64),
    Kill(Incarnation),
}

#[derive(Debug, Default)]
pub(super) struct Replica {
    incarnation: Incarnation,
    up: bool,
    since: u64,
    ramp: usize,
    turns: Turns,
    peers: BTreeMap<(Incarnation, u32), usize>,
}

/// How often each rare branch was reached.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) turns: u64,
    pub(super) trials: u64,
    pub(super) controls: u64,
    pub(super) spoilt: u64,
    pub(super) acquittals: u64,
    pub(super) impatient: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.turns += other.turns;
        self.trials += other.trials;
        self.controls += other.controls;
        self.spoilt += other.spoilt;
        self.acquittals += other.acquittals;
        self.impatient += other.impatient;
    }
}

pub(super) struct Simulation {
    pub(super) now: u64,
    pub(super) queue: BinaryHeap<Reverse<(u64, u64, Moment)>>,
    pub(super) queued: u64,
    pub(super) threads: Vec<Thread>,
    pub(super) replicas: Vec<Replica>,
    pub(super) newest: Incarnation,
    pub(super) deaths: Vec<(Incarnation, u64)>,
    pub(super) rng: Rng,
    pub(super) counts: Counts,
}

impl Simulation {
    pub(super) fn new(seed: u64, replicas: usize, threads: Vec<Thread>) -> Self {
        let mut simulation = Self {
            now: START,
            queue: BinaryHeap::new(),
            queued: 0,
            threads,
            replicas: (0..replicas).map(|_| Replica::default()).collect(),
            newest: 0,
            deaths: Vec::new(),
            rng: Rng(seed),
            counts: Counts::default(),
        };
        for number in 0..replicas {
            simulation.at(0, Moment::Up(number));
        }
        simulation
    }

    fn at(&mut self, after: u64, moment: Moment) {
        self.queued += 1;
        self.queue.push(Reverse((self.now + after, self.queued, moment)));
    }

    /// Lets time pass until then, or until a condition holds.
    pub(super) fn run(&mut self, until: u64, enough: impl Fn(&Self) -> bool) {
        while let Some(Reverse((at, number, moment))) = self.queue.pop() {
            if at > until {
                self.queue.push(Reverse((at, number, moment)));
                break;
            }
            self.now = at;
            self.happen(moment);
            if enough(self) {
                return;
            }
        }
        self.now = until;
    }

    fn replica_of(&self, thread: usize) -> Option<usize> {
        let owner = self.threads[thread].owner;
        self.replicas.iter().position(|one| one.up && one.incarnation == owner)
    }

    pub(super) fn die(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        if !std::mem::take(&mut replica.up) {
            return;
        }
        let lived = self.now - replica.since;
        // Without suspects it is heard of each second.
        let beat = if lived < 60_000 { BEAT } else { 1_000 };
        let who = replica.incarnation;
        self.deaths.push((who, replica.since + lived / beat * beat));
        for thread in self.threads.iter_mut().filter(|thread| thread.owner == who) {
            thread.turn += 1;
            thread.driven = false;
            thread.waits_since = None;
        }
        let restart = 250 + self.rng.below(450);
        self.at(restart, Moment::Up(number));
    }

    fn happen(&mut self, moment: Moment) {
        match moment {
            Moment::Up(number) => {
                self.newest += 1;
                let (incarnation, since) = (self.newest, self.now);
                let ramp = 8;
                self.replicas[number] =
                    Replica { incarnation, up: true, since, ramp, ..Replica::default() };
                self.at(20, Moment::Claim(number, incarnation));
            }
            Moment::Claim(number, incarnation) => self.claim(number, incarnation),
            Moment::Kill(who) => {
                let number = self.replicas.iter().position(|one| one.up && one.incarnation == who);
                if let Some(number) = number {
                    self.die(number);
                }
            }
            Moment::Judge(thread, turn)
            | Moment::Turn(thread, turn)
            | Moment::Trial(thread, turn)
            | Moment::Alone(thread, turn)
            | Moment::Begun(thread, turn)
            | Moment::StepEnd(thread, turn)
            | Moment::Acquit(thread, turn) => {
                let current = self.threads[thread].turn == turn;
                if current && self.replica_of(thread).is_some() {
                    self.go_on(thread, moment);
                }
            }
        }
    }

    /// What becomes of one thread.
    fn go_on(&mut self, thread: usize, moment: Moment) {
        match moment {
            Moment::Up(_) | Moment::Claim(..) | Moment::Kill(_) => {}
            Moment::Judge(..) => self.judge(thread, 0),
            Moment::Turn(..) => self.start_in_turn(thread),
            Moment::Trial(..) => self.try_alone(thread),
            Moment::Alone(..) => {
                self.counts.trials += 1;
                self.expose(thread, true);
            }
            Moment::Begun(..) => self.begin(thread),
            Moment::StepEnd(..) => self.complete(thread),
            Moment::Acquit(..) => {
                if let Some(suspicion) = &mut self.threads[thread].suspicion {
                    self.counts.acquittals += 1;
                    suspicion.acquit();
                }
            }
        }
    }

    fn start_in_turn(&mut self, thread: usize) {
        let (now, number) = (self.now, self.replica_of(thread).unwrap());
        let Thread { patience, turn, .. } = self.threads[thread];
        match self.replicas[number].turns.start(now) {
            Some(again) if now < patience => {
                self.at(again.min(patience) - now, Moment::Turn(thread, turn));
            }
            _ => {
                self.counts.turns += 1;
                self.expose(thread, false);
            }
        }
    }

    fn begin(&mut self, thread: usize) {
        let one = &mut self.threads[thread];
        one.driven = true;
        let (kind, owner, turn) = (one.kind, one.owner, one.turn);
        if let Some(suspicion) = &one.suspicion {
            let after = suspicion.acquitted_after();
            self.at(after, Moment::Acquit(thread, turn));
        }
        match kind {
            Kind::Innocent(step) => self.at(step, Moment::StepEnd(thread, turn)),
            Kind::Kills(after) => self.at(after, Moment::Kill(owner)),
            Kind::KillsWithin(longest) => {
                let after = self.rng.below(longest);
                self.at(after, Moment::Kill(owner));
            }
            Kind::KillsLoading => {}
        }
    }

    fn complete(&mut self, thread: usize) {
        let one = &mut self.threads[thread];
        one.suspicion = None;
        one.steps_left -= 1;
        let turn = one.turn;
        if one.steps_left == 0 {
            (one.done, one.owner) = (true, 0);
        } else if let Kind::Innocent(step) = one.kind {
            self.at(step, Moment::StepEnd(thread, turn));
        }
    }

    fn claim(&mut self, number: usize, incarnation: Incarnation) {
        let replica = &self.replicas[number];
        if !replica.up || replica.incarnation != incarnation {
            return;
        }
        let live: Vec<Incarnation> =
            self.replicas.iter().filter(|one| one.up).map(|one| one.incarnation).collect();
        let (count, limit) = (self.threads.len(), replica.ramp);
        let first = usize::try_from(self.rng.below(u64::try_from(count).unwrap())).unwrap();
        let order = (0..count).map(|at| (at + first) % count);
        let claimed: Vec<usize> = order
            .filter(|&at| {
                let one = &self.threads[at];
                !one.done && !one.paused && !live.contains(&one.owner)
            })
            .take(limit)
            .collect();
        let full = claimed.len() == limit;
        self.replicas[number].ramp = if full { (limit * 2).min(128) } else { 8 };
        for thread in claimed {
            let one = &mut self.threads[thread];
            let previous = std::mem::replace(&mut one.owner, incarnation);
            one.turn += 1;
            if previous == 0 && one.suspicion.is_none() {
                self.expose(thread, false);
            } else {
                self.judge(thread, previous);
            }
        }
        self.at(if full { 15 } else { 250 }, Moment::Claim(number, incarnation));
    }

    fn judge(&mut self, thread: usize, previous: Incarnation) {
        let number = self.replica_of(thread).unwrap();
        let now = self.now;
        let deaths: Vec<(Incarnation, u64)> =
            self.deaths.iter().filter(|(_, at)| at + WINDOW > now).copied().collect();
        let judge = self.replicas[number].incarnation;
        let unit = self.rng.unit();
        let evidence = Evidence { deaths: &deaths, now, beat: BEAT, judge, unit };
        let mut suspicion = self.threads[thread].suspicion.take().unwrap_or_default();
        let before = suspicion.trials.len();
        suspicion.judge(previous, evidence);
        self.counts.spoilt += u64::from(suspicion.trials.len() < before);
        let lost_with = suspicion.lost_with;
        let set = (lost_with, suspicion.points);
        let counted = self.replicas[number].peers.contains_key(&set);
        let asks = suspicion.needs_others() && !(counted && suspicion.trials.is_empty());
        let others = if asks { &self.threads[..] } else { &[] };
        let beside: Vec<Suspicion> = others
            .iter()
            .enumerate()
            .filter(|(at, one)| *at != thread && !one.paused && !one.done)
            .filter_map(|(_, one)| one.suspicion.as_ref())
            .filter(|one| {
                let exposed_to = one.exposed.map_or(0, |exposed| exposed.to);
                [one.lost_with, exposed_to].contains(&lost_with)
            })
            .cloned()
            .collect();
        let counted = &mut self.replicas[number].peers;
        let peers = if suspicion.needs_others() {
            *counted.entry(set).or_insert_with(|| suspicion.peers(&beside))
        } else {
            1
        };
        let verdict = suspicion.verdict((peers, &beside), LIMIT, evidence);
        let (turns, turn) = (&mut self.replicas[number].turns, self.threads[thread].turn);
        if matches!(verdict, Verdict::Turn | Verdict::Trial | Verdict::Control(_)) {
            let waits_since = *self.threads[thread].waits_since.get_or_insert(now);
            let longest = &mut self.threads[thread].longest_wait;
            *longest = (*longest).max(now - waits_since);
            self.threads[thread].patience = now + suspicion.wait(now);
        }
        let next = match verdict {
            Verdict::Go => None,
            Verdict::Pause => {
                (self.threads[thread].paused, self.threads[thread].owner) = (true, 0);
                return;
            }
            Verdict::Control(until) => {
                self.counts.controls += 1;
                turns.control(until, suspicion.points);
                Some((until, Moment::Judge(thread, turn)))
            }
            Verdict::Turn => {
                let at = turns.turn(set, peers, now).min(self.threads[thread].patience);
                Some((at, Moment::Turn(thread, turn)))
            }
            Verdict::Trial => {
                turns.waits(suspicion.points);
                Some((now, Moment::Trial(thread, turn)))
            }
        };
        self.threads[thread].suspicion = Some(suspicion);
        match next {
            None => self.expose(thread, false),
            Some((at, moment)) => self.at(at - now, moment),
        }
    }

    fn try_alone(&mut self, thread: usize) {
        let (now, number) = (self.now, self.replica_of(thread).unwrap());
        let (turn, patience) = (self.threads[thread].turn, self.threads[thread].patience);
        let suspicion = self.threads[thread].suspicion.as_ref().unwrap();
        let (points, age) = (suspicion.points, suspicion.age);
        let turns = &mut self.replicas[number].turns;
        match turns.try_alone(points, age, now) {
            Ok(start) => {
                turns.waits_no_more(points);
                self.at(start - now, Moment::Alone(thread, turn));
            }
            Err(again) if now < patience => {
                self.at(again.min(patience) - now, Moment::Trial(thread, turn));
            }
            Err(_) => {
                turns.waits_no_more(points);
                self.counts.impatient += 1;
                self.expose(thread, false);
            }
        }
    }

    fn expose(&mut self, thread: usize, alone: bool) {
        let (now, owner) = (self.now, self.threads[thread].owner);
        let one = &mut self.threads[thread];
        if let Some(since) = one.waits_since.take() {
            one.longest_wait = one.longest_wait.max(now - since);
        }
        if let Some(suspicion) = &mut one.suspicion {
            suspicion.expose(owner, now, alone);
        }
        let (kind, turn) = (one.kind, one.turn);
        if kind == Kind::KillsLoading {
            let after = self.rng.below(40);
            self.at(after, Moment::Kill(owner));
        }
        let latency = LATENCY + self.rng.below(40);
        self.at(latency, Moment::Begun(thread, turn));
    }

    pub(super) fn all_at_work(&self) -> bool {
        self.threads.iter().all(|one| one.done || one.driven)
    }

    pub(super) fn all_up(&self) -> bool {
        self.replicas.iter().all(|one| one.up)
    }
}
