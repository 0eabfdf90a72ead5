//! Snapshots, long journals and adoptions, over a memory store that is watched.

mod adoption;
mod checkpoints;
mod history;
mod load;
mod snapshots;
mod watched;
