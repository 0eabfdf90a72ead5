//! Fuzzes the readers of settings: every text gives a setting, or a fault that names the setting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::read_api_keys;
use super::{Environment, Settings, Values, database, edge, parse};
use crate::fuzz::fuzz;

#[test]
fn any_file_is_settings_or_faults_that_name_what_is_wrong() {
    let tokens = [
        "addr = ",
        "lease = \"5s\"",
        "\"\"\"",
        "[table]",
        "max-body = 1",
        "database-url = ",
        "egress = ",
        "exec-allow = [\"ls\"]",
        "hosts = ",
        "cors-origins = ",
        "log = ",
        "api-keys = ",
        "\n",
        "1979-05-27",
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rethread.toml");
    let environment = Environment::of([("RETHREAD_CONFIG", file.to_str().unwrap())]);
    fuzz("settings", &tokens, |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let read = Values::resolve(&BTreeMap::new(), &environment);
        let read = read.and_then(|values| Settings::read(&values, &environment, &mut Vec::new()));
        match read {
            Ok(settings) => {
                assert!(settings.lease >= Duration::from_millis(200) && settings.max_running > 0);
                let closed = settings.addr.is_loopback() || !settings.api_keys.is_empty();
                assert!(closed, "an open address without keys");
                "settings".to_owned()
            }
            Err(error) => {
                assert!(!error.faults.is_empty() && error.faults.iter().all(|one| !one.is_empty()));
                let text = error.to_string();
                text.replace(file.to_str().unwrap(), "")
            }
        }
    });
}

#[test]
fn any_list_of_keys_is_read_or_refused_without_a_secret_shown() {
    /// A secret of the corpus, which is no name.
    const SECRET: &str = "hunter2";
    let tokens =
        [":reader", ":operator:team", "hunter2", ",", ":", "a:hunter2hunter2hunter2", ":admin"];
    fuzz("keys", &tokens, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        if text.trim().starts_with('@') {
            return "a file".to_owned();
        }
        let mut notices = Vec::new();
        let names = text.split(',').map(|item| item.trim().split(':').next().unwrap_or_default());
        let shown = names.clone().any(|name| name.contains(SECRET));
        match read_api_keys(text, &mut notices) {
            Ok(keys) => {
                assert_eq!(
                    keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(),
                    names.collect::<Vec<_>>()
                );
                let shown = shown || keys.iter().any(|key| key.namespace.as_str().contains(SECRET));
                assert!(shown || !format!("{keys:?}{notices:?}").contains(SECRET));
                format!("{:?}", keys.iter().map(|key| key.role).max())
            }
            Err(fault) => {
                // A text without a colon is a secret as well.
                let in_name = text.contains(':') && shown;
                assert!(in_name || !fault.contains(SECRET), "{fault}");
                fault
            }
        }
    });
}

#[test]
fn any_value_of_a_setting_is_one_that_reads_back_or_a_fault() {
    let tokens = [
        "KiB",
        "gb",
        "ms",
        "1h 2m",
        "[::1]:",
        "10.0.0.0/8",
        "*.example.com",
        "https://",
        "info,",
        "=debug",
        "postgres://",
        "sqlite:",
    ];
    fuzz("value", &tokens, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        let mut read = Vec::new();
        if let Ok(address) = parse::address(text) {
            assert_eq!(parse::address(&address.to_string()).as_ref(), Ok(&address));
            read.push("address");
        }
        if let Ok(bytes) = parse::size(text, &(1..=1 << 40)) {
            assert!((1..=1 << 40).contains(&bytes));
            read.push("size");
        }
        if let Ok(time) = parse::duration(text, &(Duration::ZERO..=Duration::from_hours(1))) {
            assert!(time <= Duration::from_hours(1));
            read.push("duration");
        }
        if let Ok(egress) = parse::egress(text) {
            assert_eq!(parse::egress(&egress.to_string()).as_ref(), Ok(&egress));
            read.push("egress");
        }
        let outcomes = [
            ("hosts", edge::hosts(text).is_ok()),
            ("origins", edge::origins(text).is_ok()),
            ("database", database::read_database(text).is_ok()),
            ("schema", database::read_schema(text).is_ok()),
            ("log", parse::log_filter(text).is_ok()),
            ("multiplier", parse::multiplier(text).is_ok()),
        ];
        read.extend(outcomes.into_iter().filter_map(|(name, is_one)| is_one.then_some(name)));
        read.join(" ")
    });
}
