//! Which errors of Postgres pass by themselves.
//!
//! The one table of transient SQLSTATEs. A code that is missing here turns a hiccup into a failed
//! request; one too many hides a fault behind retries.

/// Conditions under which the same statement may succeed later, with Postgres' names for them.
pub(super) const TRANSIENT: [(&str, &str); 33] = [
    ("08000", "connection_exception"),
    ("08001", "sqlclient_unable_to_establish_sqlconnection"),
    ("08003", "connection_does_not_exist"),
    ("08004", "sqlserver_rejected_establishment_of_sqlconnection"),
    ("08006", "connection_failure"),
    ("08007", "transaction_resolution_unknown"),
    ("08P01", "protocol_violation"),
    ("25006", "read_only_sql_transaction"),
    ("25P02", "in_failed_sql_transaction"),
    ("25P03", "idle_in_transaction_session_timeout"),
    ("25P04", "transaction_timeout"),
    ("26000", "invalid_sql_statement_name"),
    ("40000", "transaction_rollback"),
    ("40001", "serialization_failure"),
    ("40003", "statement_completion_unknown"),
    ("40P01", "deadlock_detected"),
    ("53000", "insufficient_resources"),
    ("53100", "disk_full"),
    ("53200", "out_of_memory"),
    ("53300", "too_many_connections"),
    ("53400", "configuration_limit_exceeded"),
    // Of our statements (plain tables, one sequence, no replication of our own) it can only come
    // from a state that an operator made and ends: a database that accepts no connections while it
    // is moved or upgraded, a publication that asks a table for what it has not got yet. Taken for
    // final it would refuse appends that are in perfect order.
    ("55000", "object_not_in_prerequisite_state"),
    ("55006", "object_in_use"),
    ("55P03", "lock_not_available"),
    ("57000", "operator_intervention"),
    ("57014", "query_canceled"),
    ("57P01", "admin_shutdown"),
    ("57P02", "crash_shutdown"),
    ("57P03", "cannot_connect_now"),
    ("57P05", "idle_session_timeout"),
    ("58000", "system_error"),
    ("58030", "io_error"),
    ("72000", "snapshot_too_old"),
];

/// A lock was not to be had within `lock_timeout`.
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The session or the server takes no writes.
pub(super) const READ_ONLY: &str = "25006";

/// The server's disk has no room.
pub(super) const DISK_FULL: &str = "53100";

/// The server was set to give this role no more of something, such as temporary files.
pub(super) const LIMIT_EXCEEDED: &str = "53400";

/// A statement took longer than `statement_timeout`, or somebody cancelled it.
pub(super) const QUERY_CANCELED: &str = "57014";

/// The guard of the start statement fired: see `starts.rs`.
pub(super) const DIVISION_BY_ZERO: &str = "22012";

/// Whether the same statement may succeed later.
pub(super) fn is_transient(code: &str) -> bool {
    TRANSIENT.binary_search_by_key(&code, |(known, _)| known).is_ok()
}

/// Whether the fault lies in the data of this very statement: a value out of range or not
/// representable (22), a violated constraint (23), a row or key beyond the limits (54).
pub(super) fn is_about_data(code: &str) -> bool {
    matches!(code.get(..2), Some("22" | "23" | "54"))
}

/// Whether the server answered and does not let us in: authorisation (28), no such database (3D),
/// no privilege (42501).
pub(super) fn is_refusal(code: &str) -> bool {
    matches!(code.get(..2), Some("28" | "3D")) || code == "42501"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_holds_five_character_codes() {
        assert!(TRANSIENT.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(TRANSIENT.iter().all(|(code, name)| code.len() == 5 && !name.is_empty()));
        assert!(TRANSIENT.len() >= 20);
    }

    #[test]
    fn hiccups_are_transient_and_faults_are_not() {
        for code in
            ["08006", "40001", "40P01", "53300", "55000", "55P03", "57P01", "57014", "25006"]
        {
            assert!(is_transient(code), "{code}");
        }
        for code in ["23505", "42P01", "22021", "28P01", "3D000", "XX000", "0A000", ""] {
            assert!(!is_transient(code), "{code}");
        }
        assert!(TRANSIENT.iter().all(|(code, _)| !is_about_data(code) && !is_refusal(code)));
        assert!(is_about_data("22021") && is_about_data("54000") && !is_about_data("42P01"));
        assert!(is_refusal("28P01") && is_refusal("3D000") && is_refusal("42501"));
    }
}
