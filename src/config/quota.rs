//! Reads the quotas of keys and of namespaces.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use super::parse;
use super::reader::{Reader, every};

/// The allowed rates, for the message that refuses another text.
const RATE: &str = "requests a second, from 1 to 1000000, such as 50; or those and how many at once after a \
                    pause, such as 50:200";
/// The range of requests a second, and of requests at once after a pause. Above, no replica answers
/// as many.
const REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
/// The range of requests at once: as many as there may be connections.
const CONCURRENCY: RangeInclusive<u64> = 1..=1_000_000;
/// The range of bytes a second. Below, a request of ordinary size uses up minutes of it; above,
/// nothing is bounded.
const BYTES: RangeInclusive<u64> = 1 << 10..=1 << 30;

/// The quotas of each key, or of each namespace; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaSettings {
    /// The requests a second, and the most requests at once after a pause.
    pub rate: Option<(NonZeroU32, NonZeroU32)>,
    /// The requests that are answered at once.
    pub concurrency: Option<usize>,
    /// The bytes of request bodies a second.
    pub bytes: Option<u64>,
}

/// Reads the quotas of each key and those of each namespace.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<(QuotaSettings, QuotaSettings)> {
    // Both are read before either is given up, so that one answer names every fault.
    let key = scope(reader, ["quota_key_rate", "quota_key_concurrency", "quota_key_bytes"]);
    let namespace = scope(
        reader,
        ["quota_namespace_rate", "quota_namespace_concurrency", "quota_namespace_bytes"],
    );
    Some((key?, namespace?))
}

fn scope(reader: &mut Reader<'_>, [rate, concurrency, bytes]: [&str; 3]) -> Option<QuotaSettings> {
    let count = "a whole number from 1 to 1000000";
    let size = "a size a second, from 1KiB to 1GiB, such as 4MiB";
    every!(QuotaSettings {
        rate: reader.read_optional(rate, RATE, read_rate).ok(),
        concurrency: reader
            .read_optional(concurrency, count, |text| parse::count(text, &CONCURRENCY))
            .ok()
            .map(|count| count.and_then(|count| usize::try_from(count).ok())),
        bytes: reader.read_optional(bytes, size, |text| parse::size(text, &BYTES)).ok(),
    })
}

fn read_rate(text: &str) -> Result<(NonZeroU32, NonZeroU32), String> {
    let read = |text: &str| {
        let count = parse::count(text, &REQUESTS)?;
        let number = u32::try_from(count).ok().and_then(NonZeroU32::new);
        number.ok_or_else(|| "too large".to_owned())
    };
    match text.split_once(':') {
        Some((rate, burst)) => Ok((read(rate)?, read(burst)?)),
        None => read(text).map(|rate| (rate, rate)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Environment, Values};

    #[test]
    fn nothing_is_bounded_by_default_and_every_fault_is_named() {
        let read = |variables: &[(&str, &str)]| {
            let environment = Environment::of(variables.iter().copied());
            let values = Values::resolve(&BTreeMap::new(), &environment).unwrap();
            let mut reader = Reader { values: &values, faults: Vec::new() };
            (read(&mut reader), reader.faults)
        };
        let none = QuotaSettings::default();
        assert_eq!(read(&[]), (Some((none, none)), Vec::new()));
        let (quotas, faults) = read(&[
            ("RETHREAD_QUOTA_KEY_RATE", "fast"),
            ("RETHREAD_QUOTA_KEY_CONCURRENCY", "0"),
            ("RETHREAD_QUOTA_NAMESPACE_BYTES", "1B"),
        ]);
        assert_eq!((quotas, faults.len()), (None, 3), "{faults:?}");
    }

    #[test]
    fn a_rate_is_a_number_and_perhaps_a_burst() {
        let read = |text: &str| read_rate(text).map(|(rate, burst)| (rate.get(), burst.get()));
        assert_eq!(read("50"), Ok((50, 50)));
        assert_eq!(read("50:200"), Ok((50, 200)));
        assert_eq!(read(" 5 : 2 "), Ok((5, 2)));
        for bad in ["", "0", "5:0", "5:", ":5", "5/s", "1000001", "1:2:3", "-1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
