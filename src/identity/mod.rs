//! Bearer tokens of an OpenID Connect issuer: finds the caller that a token names, once its
//! signature, times, issuer and audience are valid.
//!
//! [`Issuer`] holds the issuer's signing keys and keeps them fresh. `jsonwebtoken` checks tokens,
//! `ring` their signatures; `keys` picks the usable keys of an issuer, `claims` converts a token's
//! claims into a name, a role and a namespace.

mod claims;
mod crypto;
mod discovery;
mod issuer;
mod keys;
mod refusal;
mod token;

pub use claims::{ClaimNames, Claimed, NAME_PREFIX};
pub use discovery::endpoint;
pub use issuer::{Freshness, Issuer, IssuerSettings};
pub use refusal::Refusal;
pub use token::is_token;
