//! Snapshots, long journals and adoptions, over a watched memory store.

mod adoption;
mod checkpoints;
mod crowds;
mod history;
mod load;
mod panics;
mod snapshots;
mod suspended;
mod watched;
