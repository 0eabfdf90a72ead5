//! What every store promises, run against all three.

mod audit;
mod data;
mod forks;
mod history;
mod import;
mod leases;
mod lists;
mod mail;
mod namespaces;
mod notices;
mod room;
mod suspects;
mod writes;

use std::time::Duration;

use rethread::model::{Incarnation, Json, ThreadId};
use rethread::store::{Message, Posted, Start, ThreadFilter, WriteOutcome};

use crate::support::beds::{Bed, TTL};
use crate::support::writes::{id, starts};

use audit::*;
use data::*;
use forks::*;
use history::*;
use import::*;
use leases::*;
use lists::*;
use mail::*;
use namespaces::*;
use notices::*;
use room::*;
use suspects::*;
use writes::*;

const WRITTEN: WriteOutcome = WriteOutcome::Written { mail: 0 };

macro_rules! conformance {
    ($($claim:ident),+ $(,)?) => {
        mod memory { $(#[tokio::test] async fn $claim() {
            super::$claim(super::Bed::memory()).await;
        })+ }
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $claim() {
            super::$claim(super::Bed::sqlite().await).await;
        })+ }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $claim() {
            super::$claim(super::Bed::postgres().await).await;
        })+ }
    };
}

conformance!(
    a_store_that_is_well_takes_writes,
    room_of_deleted_threads_is_given_back,
    a_start_lands_with_its_sides_and_takes_no_message,
    an_expired_lease_is_never_renewed,
    due_threads_are_claimed_and_sleeping_ones_are_not,
    losses_count_until_there_is_progress,
    waking_up_is_no_loss,
    nothing_is_taken_from_a_live_owner,
    a_standing_tells_the_holder_the_queue_and_the_mail,
    orphans_of_an_expired_owner_are_claimed,
    who_only_claimed_a_thread_has_not_driven_it,
    a_predecessor_behind_a_lock_is_gone,
    an_owner_is_named_while_its_lease_holds,
    an_expired_replica_claims_nothing,
    retiring_hands_over_at_once,
    a_claim_hands_out_at_most_its_limit,
    orphans_do_not_wait_behind_a_queue,
    a_claim_leaves_the_threads_of_some_namespaces,
    a_fenced_write_has_no_effect_and_its_neighbours_land,
    a_zombie_cannot_write_after_a_takeover,
    a_released_thread_is_fenced,
    a_started_thread_is_driven_by_its_writer,
    a_start_by_nobody_is_claimed_at_once,
    a_start_brings_its_whole_history,
    a_refused_start_leaves_nothing_of_its_history,
    a_history_of_very_many_rows_lands_whole,
    forks_are_found_by_their_origin_and_tell_no_duration,
    taken_ids_and_keys_are_told_apart,
    duplicates_in_one_batch_make_one_thread,
    an_expired_key_is_taken_over,
    a_repeated_batch_is_recognised_as_written,
    messages_are_taken_exactly_once,
    an_inbox_is_read_in_parts,
    untaken_messages_are_bounded_and_taken_ones_keep_no_body,
    messages_of_a_kind_are_found_behind_all_others,
    a_message_wakes_a_sleeping_thread,
    a_release_with_untaken_mail_is_due_at_once,
    what_is_set_aside_rests_until_its_time_or_the_next_message,
    a_fenced_write_takes_no_message,
    racing_messages_are_never_left_asleep,
    parked_threads_sleep_until_their_time,
    threads_are_listed_newest_first_by_filter_and_page,
    only_ended_threads_are_deleted_with_all_they_have,
    a_large_thread_is_shown_to_nobody_before_it_is_gone,
    old_ended_threads_expire,
    durations_are_those_of_completed_threads,
    workflows_get_versions,
    definitions_come_with_starts,
    a_start_without_its_definition_is_sent_back,
    payloads_come_back_byte_for_byte,
    reads_start_and_stop_inside_an_append,
    reads_of_large_events_are_cut_and_go_on,
    big_mixed_batches_land_whole,
    damage_is_reported,
    a_shared_secret_is_made_once,
    reopening_keeps_everything,
    long_labels_and_odd_texts_are_held,
    snapshots_come_back_and_the_newest_are_kept,
    a_damaged_snapshot_is_left_to_its_reader,
    an_archive_shows_history_as_it_lies_there,
    recoveries_come_back_newest_first,
    recoveries_are_counted_by_cause_and_result,
    recoveries_that_begin_at_once_are_kept_once,
    suspects_are_kept_once_and_found_by_thread_and_incarnation,
    a_suspect_goes_with_its_thread,
    deaths_are_those_of_replicas_that_were_not_retired,
    interventions_are_indexed_with_their_append,
    interventions_are_listed_newest_first_by_filter_and_page,
    a_fenced_write_opens_no_intervention,
    history_goes_with_its_thread,
    tallies_are_kept_by_the_hour,
    tallies_added_at_once_are_all_counted,
    what_is_dumped_reads_back_byte_for_byte_in_any_store,
    a_thread_is_taken_in_once_and_knows_its_own_again,
    another_thread_of_the_same_id_is_a_conflict,
    a_key_that_another_thread_has_stays_with_it,
    versions_of_others_follow_those_that_are_here,
    of_a_fork_only_its_own_events_are_told,
    audit_entries_are_listed_newest_first_by_filter_and_page,
    an_audit_entry_of_the_same_id_takes_the_place_of_the_first,
    old_audit_entries_expire_and_threads_take_none_with_them,
    subscriptions_are_kept_and_changed_by_their_version,
    a_write_tells_those_it_names_until_all_is_sent,
    a_fenced_write_and_a_subscription_that_is_gone_tell_nobody,
    a_cursor_has_one_holder_at_a_time,
    the_cursor_of_a_dead_sender_is_free,
    what_was_not_taken_rests_until_its_time,
    a_claim_takes_of_each_what_it_may,
    a_claim_takes_of_each_group_and_of_all_what_it_may,
    what_waits_for_some_is_counted_up_to_a_bound,
    ended_threads_wait_for_those_who_were_not_told,
    what_waits_too_long_is_given_up,
    however_much_waits_all_of_it_is_hastened_or_goes,
    one_id_and_one_key_in_two_namespaces_are_two_threads,
    lists_show_the_threads_of_one_namespace,
    interventions_and_recoveries_are_those_of_one_namespace,
    workflows_of_one_name_in_two_namespaces_have_versions_of_their_own,
    subscriptions_are_listed_by_their_namespace,
);

async fn register(bed: &Bed) -> Incarnation {
    bed.store.register("test", TTL).await.unwrap()
}

async fn write(bed: &Bed, me: Incarnation, batch: impl IntoIterator<Item = Start>) {
    let outcomes = bed.store.write(me, &starts(batch)).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == WRITTEN), "{outcomes:?}");
}

async fn post(bed: &Bed, thread: &str, key: &str) -> Posted {
    let message = Message { key: key.to_owned(), body: Json::null() };
    let posted = bed.store.post(&id(thread), &message).await.unwrap();
    bed.clock.advance(Duration::from_millis(1));
    posted
}

async fn row(bed: &Bed, thread: &str) -> rethread::store::ThreadRow {
    bed.store.thread(&id(thread)).await.unwrap().unwrap()
}

async fn texts(bed: &Bed, thread: &str, after: u64) -> Vec<String> {
    let found = bed.store.read(&id(thread), after, 1000).await.unwrap();
    let mut next = after + 1;
    for records in &found {
        assert_eq!(records.first, next);
        next = records.last() + 1;
    }
    found.into_iter().flat_map(|records| records.events).collect()
}

async fn claim_ids(bed: &Bed, me: Incarnation) -> Vec<ThreadId> {
    let claimed = bed.store.claim(me, 99, &[]).await.unwrap();
    let mut ids: Vec<ThreadId> = claimed.into_iter().map(|claim| claim.thread_id).collect();
    ids.sort();
    ids
}

async fn listed(bed: &Bed, filter: &ThreadFilter, limit: usize) -> Vec<String> {
    let rows = bed.store.threads(filter, limit).await.unwrap();
    rows.into_iter().map(|row| row.thread_id.to_string()).collect()
}

async fn heads(bed: &Bed, names: &[String]) -> Vec<(String, i64, u64, Vec<String>)> {
    let mut found = Vec::new();
    for name in names {
        let row = row(bed, name).await;
        let inbox = bed.store.inbox(&id(name)).await.unwrap();
        let keys = inbox.into_iter().map(|message| message.key).collect();
        found.push((name.clone(), row.epoch, row.last_seq, keys));
    }
    found
}
