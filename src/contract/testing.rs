//! Reads bodies as the faces do.

use super::Request;
use crate::model::{Fault, Faults, Json};

/// Reads a body; its faults if it has any.
pub(in crate::contract) fn read<T: Request>(text: &str) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::default();
    let json = Json::parse(text).map_err(|_| Vec::new())?;
    let request = T::read(&json, &mut faults);
    request.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_vec())
}
