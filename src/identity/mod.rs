//! Bearer tokens of an OpenID Connect issuer: who a token names, once its signature, its times, its
//! issuer and its audience have held.
//!
//! [`Issuer`] holds the issuer's signing keys and keeps them new. `jsonwebtoken` checks tokens, `ring`
//! their signatures; what of an issuer's keys is used at all stands in `keys`, what of a token's claims
//! becomes a name, a role and a namespace in `claims`.

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
