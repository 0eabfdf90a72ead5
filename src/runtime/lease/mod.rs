//! The right to drive threads: the lease, and the roster of the tasks at work under it.

pub(super) mod account;
pub(super) mod authority;

pub(super) mod peers;
pub(super) mod renew;
pub(super) mod roster;
#[cfg(test)]
mod sabotage;
pub(super) mod stood;
pub(super) mod watchdog;
