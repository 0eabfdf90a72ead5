//! Everything that is tested from outside a module, in one binary so that it links once.

mod support;

mod e2e;
mod store_conformance;
mod store_differential;
mod store_postgres;
mod store_sqlite;
