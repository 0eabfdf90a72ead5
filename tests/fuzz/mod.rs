//! Feeds a reader of foreign bytes with inputs that nobody thought of.
//!
//! A target is a test beside its reader (`src/**/fuzz.rs`) and a folder of samples below
//! `tests/fuzz/corpus`, which are read first. Then samples are changed at random ([`mutate`]) until the
//! time is over. An input whose outcome was not seen before becomes a sample for the rest of the run:
//! that is how the search goes deeper without a compiler that counts branches. `proptest` draws the
//! changes and takes the needless ones back when an input fails.

mod mutate;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::time::Instant;

/// How long each target looks for faults after its corpus, in seconds.
const SECONDS: &str = "RETHREAD_FUZZ_SECONDS";
/// Which changes are made. The same without it: a run of the tests that has passed goes on passing, and
/// `scripts/fuzz` looks elsewhere each time.
const SEED: &str = "RETHREAD_FUZZ_SEED";
/// So long, if nothing is set: a look in passing, as part of every run of the tests.
const DEFAULT_SECONDS: f64 = 1.0;
/// Longest time on the processor that one input may take, in a build that is not optimised: the budgets
/// of what clients write end a reading within about a second.
const MAX_TIME: Duration = Duration::from_secs(3);
/// Most memory of the process, in KiB: a filter may use 256 MiB for a moment.
const MAX_MEMORY: i64 = 1024 * 1024;
/// Inputs between two looks at the memory and the samples.
const ROUND: u32 = 256;
/// Most samples, so that none is drawn too seldom.
const MAX_SAMPLES: usize = 4096;
/// Letters of an outcome that tell it from others: what follows is about the input.
const MAX_OUTCOME: usize = 80;
/// Runs made to find a smaller input that fails as well.
const MAX_SHRINKS: u32 = 4096;

/// Reads the corpus of `target`, and what comes of changing it, with `read`, which panics at a fault and
/// else tells the outcome. `tokens` are words of the language read, for the changes to put in.
pub(crate) fn fuzz(target: &str, tokens: &[&str], read: impl Fn(&[u8]) -> String) {
    let run = Run::new(target, read);
    let samples = run.corpus();
    assert!(!samples.is_empty(), "{target} has no corpus");
    for sample in &samples {
        run.read(sample);
    }
    run.samples.borrow_mut().extend(samples);
    let until = Instant::now() + seconds();
    for round in 0_u64.. {
        if Instant::now() >= until {
            break;
        }
        let config = Config {
            cases: ROUND,
            failure_persistence: None,
            max_shrink_iters: MAX_SHRINKS,
            ..Config::default()
        };
        let inputs = mutate::inputs(&run.samples, tokens);
        let outcome = TestRunner::new_with_rng(config, random(round)).run(&inputs, |input| {
            // Once an input has failed the time is that of making it smaller.
            if Instant::now() < until || run.has_failed() {
                run.read(&input);
            }
            Ok(())
        });
        if let Err(proptest::test_runner::TestError::Fail(why, input)) = outcome {
            let kept = run.keep(&input);
            panic!(
                "{target}: {why}\nthe input {:?}\nis in {kept}",
                String::from_utf8_lossy(&input)
            );
        }
        run.learn();
        let used = getrusage(UsageWho::RUSAGE_SELF).unwrap().max_rss();
        assert!(
            used < MAX_MEMORY,
            "{target} took {used} KiB of memory; see {}",
            run.last.display()
        );
    }
    let (count, outcomes) = (run.ended.get(), run.outcomes.borrow().len());
    println!("{target}: {count} inputs, {outcomes} outcomes, in {:?}", seconds());
}

/// Where the changes of one round come from.
fn random(round: u64) -> TestRng {
    let set = std::env::var_os(SEED).map(|text| text.to_string_lossy().parse());
    let seed = set.transpose().unwrap_or_else(|_| panic!("{SEED} is no number"));
    let seed: u64 = seed.unwrap_or_default();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&round.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn seconds() -> Duration {
    let set = std::env::var_os(SECONDS).map(|text| text.to_string_lossy().parse());
    let seconds = set.transpose().unwrap_or_else(|_| panic!("{SECONDS} is no number"));
    Duration::from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS))
}

struct Run<R> {
    corpus: PathBuf,
    found: PathBuf,
    /// Where the input stands that is being read: it is there also after an abort or a hang.
    last: PathBuf,
    file: RefCell<File>,
    read: R,
    samples: RefCell<Vec<Vec<u8>>>,
    fresh: RefCell<Vec<Vec<u8>>>,
    outcomes: RefCell<BTreeSet<String>>,
    begun: Cell<u64>,
    ended: Cell<u64>,
}

impl<R: Fn(&[u8]) -> String> Run<R> {
    fn new(target: &str, read: R) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = root.join("target/fuzz").join(target);
        fs::create_dir_all(&found).unwrap();
        let last = found.join(format!("last-{}", std::process::id()));
        println!("should this process die: its last input is in {}", last.display());
        Self {
            corpus: root.join("tests/fuzz/corpus").join(target),
            file: RefCell::new(File::create(&last).unwrap()),
            found,
            last,
            read,
            samples: RefCell::default(),
            fresh: RefCell::default(),
            outcomes: RefCell::default(),
            begun: Cell::new(0),
            ended: Cell::new(0),
        }
    }

    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut files: Vec<_> =
            fs::read_dir(&self.corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    fn read(&self, input: &[u8]) {
        self.begun.set(self.begun.get() + 1);
        let mut file = self.file.borrow_mut();
        file.rewind().unwrap();
        file.write_all(input).unwrap();
        file.set_len(input.len().try_into().unwrap()).unwrap();
        drop(file);
        let (began, used) = (Instant::now(), processor());
        let outcome = (self.read)(input);
        // A machine that is busy with others counts for nothing, nor do threads of other tests.
        let took = began.elapsed().min(processor().saturating_sub(used));
        assert!(took <= MAX_TIME, "this input took {took:?}");
        self.ended.set(self.ended.get() + 1);
        if self.outcomes.borrow_mut().insert(shape(&outcome)) {
            self.fresh.borrow_mut().push(input.to_vec());
        }
    }

    fn has_failed(&self) -> bool {
        self.begun != self.ended
    }

    /// Makes samples of the inputs that had a new outcome.
    fn learn(&self) {
        let mut samples = self.samples.borrow_mut();
        let room = MAX_SAMPLES.saturating_sub(samples.len());
        samples.extend(self.fresh.borrow_mut().drain(..).take(room));
    }

    fn keep(&self, input: &[u8]) -> String {
        let path = self.found.join(format!("failed-{:08x}", crc32fast::hash(input)));
        fs::write(&path, input).unwrap();
        path.display().to_string()
    }
}

impl<R> Drop for Run<R> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_file(&self.last).unwrap();
        }
    }
}

fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let part = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().try_into().unwrap(), 0)
            + Duration::from_micros(time.tv_usec().try_into().unwrap())
    };
    part(usage.user_time()) + part(usage.system_time())
}

/// The words of an outcome, without what it quotes.
fn shape(outcome: &str) -> String {
    let spoken = outcome.split(['"', '\'', '`']).step_by(2).flat_map(str::chars);
    spoken.filter(char::is_ascii_alphabetic).take(MAX_OUTCOME).collect()
}
