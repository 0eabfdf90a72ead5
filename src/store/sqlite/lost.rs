//! The end of a store whose file has lost its name. Called by the writing task.

use sqlx::SqliteConnection;

use super::hold::{Hold, Loss};
use super::log::cut_at_last;

/// Brings all that was accepted into the file that has lost its name, so that its log, which kept
/// the name, can neither be missed by it nor be taken for another file's; then raises the alarm.
pub(super) async fn give_up(connection: &mut SqliteConnection, hold: &Hold, loss: &Loss) {
    let whole = matches!(cut_at_last(connection).await, Ok(true));
    alarm(hold, loss, whole);
    if let Err(error) = hold.lock_file().leave_word(&loss.to_string()) {
        tracing::warn!(%error, "the next start is not told of it, and makes a new database");
    }
}

/// `whole`: the file has all that its log had.
fn alarm(hold: &Hold, loss: &Loss, whole: bool) {
    let advice = match (loss, whole) {
        (Loss::Moved(_), true) => "the file has all that was accepted: put it back and start again",
        (Loss::Moved(_), false) => {
            "the file and the log beside its old name have together all that was accepted: put \
             the file back and start again"
        }
        (Loss::Deleted, _) => {
            "all that was accepted is lost with it, also what was answered since: put a backup \
             in its place"
        }
    };
    tracing::error!(
        file = %hold.database().display(), %loss, advice,
        "THE DATABASE FILE IS GONE: nothing is written any more, and this process ends"
    );
}
