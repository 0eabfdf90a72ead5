//! Sets a thread going that a person resumes.

use super::super::attempt::ask_again;
use super::super::decision::Decision;
use super::super::ready::advance;
use super::super::{Actor, approval};

/// Goes on with a resumed thread, asking changed questions anew.
pub(super) fn go_on(decision: &mut Decision<'_>, actor: &Actor) {
    approval::withdraw_changed(decision, actor);
    ask_again(decision);
    advance(decision);
}
