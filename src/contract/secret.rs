//! The secret that the messages of a subscription are signed with, as Standard Webhooks writes it
//! (<https://www.standardwebhooks.com>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Serialize, Serializer};

/// The prefix of a secret's text.
const PREFIX: &str = "whsec_";
/// The length of a secret in bytes, as the specification bounds it.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret; `Debug` leaves it out.
#[derive(Debug, Clone)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// Reads a secret's text; fails with the reason why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || {
            let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            format!("must be {PREFIX} and the base64 of {least} to {most} random bytes")
        };
        let encoded = text.strip_prefix(PREFIX).ok_or_else(wanted)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| wanted())?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(wanted());
        }
        Ok(Self(SecretSlice::from(bytes)))
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &SecretSlice<u8> {
        &self.0
    }
}

impl From<SecretSlice<u8>> for SigningSecret {
    fn from(bytes: SecretSlice<u8>) -> Self {
        Self(bytes)
    }
}

/// Shows the secret: an answer says it once.
impl Serialize for SigningSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encoded = STANDARD.encode(self.0.expose_secret());
        serializer.serialize_str(&format!("{PREFIX}{encoded}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_another_form_or_length_are_refused() {
        let text = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        for good in [24, 32, 64] {
            let secret = SigningSecret::parse(&text(good)).unwrap();
            assert_eq!(serde_json::to_value(&secret).unwrap(), text(good));
            assert!(!format!("{secret:?}").contains('7'));
        }
        let no_prefix = text(32).replace(PREFIX, "");
        for bad in ["", "whsec_", "whsec_not base64!", &text(23), &text(65), &no_prefix] {
            let fault = SigningSecret::parse(bad).unwrap_err();
            assert!(
                fault.contains("24 to 64") && (bad.len() < 9 || !fault.contains(bad)),
                "{fault}"
            );
        }
    }
}
