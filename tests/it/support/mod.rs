//! What tests start and hold still: a clock, stores, a Postgres cluster.

pub(crate) mod beds;
pub(crate) mod clock;
#[path = "../../../src/store/testing.rs"]
pub(crate) mod delegate;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod writes;
