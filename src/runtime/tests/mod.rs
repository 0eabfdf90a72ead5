//! Snapshots, long journals and adoptions, over a watched memory store.

mod adoption;
mod checkpoints;
mod history;
mod load;
mod snapshots;
mod watched;
