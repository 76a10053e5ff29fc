//! The list of all cases, and the macro that makes a test of each.

/// Makes a `#[tokio::test]` of every case of the store suite, in a module per aspect, for one
/// [`StoreHarness`](crate::store::StoreHarness). The harness must be in scope where the macro is used.
///
/// The crate that uses it needs `tokio` with the features `rt-multi-thread` and `macros`.
#[macro_export]
macro_rules! store_suite {
    ($harness:ty) => {
        $crate::store_suite! { @cases tests ($harness) }
    };
    (@cases $target:ident $argument:tt) => {
        $crate::store_suite! { @$target $argument
            create {
                a_job_reads_back_as_it_was_given
                empty_texts_are_kept_apart_from_absent_ones
                the_task_is_kept_byte_for_byte
                unusual_ids_are_ordinary
                the_longest_ids_fit
                outcomes_come_in_order
                a_call_may_hold_a_job_and_its_dependent
                a_refused_job_leaves_its_neighbours_alone
                a_refused_job_leaves_nothing
                creating_nothing_does_nothing
                a_deleted_id_may_be_used_again
                a_created_job_is_visible_everywhere_at_once
                a_call_may_hold_many_jobs
            }
            identity {
                the_same_request_again_changes_nothing
                another_request_for_the_same_id_is_a_conflict
                a_repeat_is_one_in_every_status
                a_repeat_is_not_published_again
                a_repeat_is_recognised_before_its_prerequisites_are_looked_at
                identity_is_a_matter_of_one_partition
                ids_are_case_sensitive
            }
            read {
                answers_come_in_the_order_of_the_keys
                reading_nothing_answers_nothing
                statuses_agree_with_jobs
                reading_changes_nothing
                the_start_time_is_when_the_first_message_was_published
                the_finish_time_is_when_the_job_finished
                a_recovery_moves_the_finish_time
                the_last_update_is_the_last_change
                dispatching_changes_only_the_start_time
                a_store_that_can_be_reached_says_so
            }
            list {
                the_newest_come_first
                ties_are_broken_by_the_id
                ids_sort_as_texts
                names_sort_as_texts_with_absent_ones_last
                descriptions_sort_as_texts
                external_data_sorts_as_text
                create_times_sort_as_numbers
                update_times_sort_as_numbers
                statuses_sort_alphabetically
                percentages_sort_as_they_are_shown
                label_values_sort_as_texts
                a_page_is_no_longer_than_asked_for
                an_offset_passes_over_selected_jobs
                an_offset_works_in_the_order_of_creation
                an_unknown_partition_is_empty
                listed_jobs_are_complete
                pages_together_are_the_whole
                a_cursor_may_travel_as_text
                a_cursor_outlives_its_job
                an_offset_counts_from_the_cursor
                a_cursor_of_another_order_is_a_place_too
            }
            filter {
                a_prefix_is_taken_literally
                an_impossible_prefix_selects_nothing
                status_types_name_groups
                any_of_the_named_labels_is_enough
                equal_texts_are_exactly_equal
                an_absent_text_satisfies_nothing
                patterns_know_stars_only
                texts_compare_as_they_sort
                statuses_are_tested_as_they_are_now
                percentages_are_tested_as_they_are_shown
                empty_conditions_mean_what_logic_says
                conditions_nest
                a_test_may_name_many_values
                all_parts_of_a_selection_must_hold
                the_store_selects_what_the_matcher_selects
            }
            count {
                jobs_are_counted_by_status
                statuses_without_jobs_are_left_out
                only_selected_jobs_are_counted
                other_partitions_do_not_count
            }
            actions {
                actions_follow_the_lifecycle
                an_unknown_job_is_not_found
                a_cancelled_job_is_never_published
                a_cancelled_job_shows_how_far_it_came
                a_cancelled_job_waits_for_nobody
                a_paused_job_is_held
                an_undispatched_job_resumes_to_waiting
                a_dispatched_job_resumes_to_active
                a_paused_job_goes_on_waiting_for_others
                a_release_during_a_pause_takes_effect_on_resume
                a_paused_job_may_be_cancelled
                a_job_may_be_deleted_in_any_status
                a_deleted_job_leaves_nothing
                deleting_removes_kept_messages
                dependents_of_a_deleted_job_go_on_waiting
                dependents_of_a_cancelled_job_go_on_waiting
                a_pause_during_publication_counts_for_the_next_try
                a_second_resume_of_a_dispatched_job_is_unchanged
            }
            bulk {
                steps_go_in_id_order
                a_full_last_step_is_the_last
                jobs_that_are_not_selected_are_left_alone
                only_jobs_that_change_are_counted
                refused_jobs_fill_a_step
                following_next_visits_every_selected_job
                each_job_is_treated_as_by_itself
                selected_jobs_are_deleted
                an_empty_selection_is_done_at_once
                other_partitions_are_not_acted_on
            }
            record {
                outcomes_come_in_order
                recording_nothing_does_nothing
                the_first_report_makes_a_job_active
                progress_of_zero_says_nothing
                percentages_are_the_contracts
                the_last_completion_completes_the_job
                a_job_may_complete_as_a_whole
                recording_again_changes_nothing
                the_order_of_reports_does_not_matter
                reports_about_unknown_jobs_change_nothing
                reports_about_finished_jobs_change_nothing
                a_failed_job_counts_on
                a_failed_job_may_yet_complete
                a_paused_job_takes_reports
                a_finished_job_is_not_published
                a_batch_may_concern_many_jobs
                many_subtasks_are_each_counted_once
                the_extremes_of_paths_are_ordinary
                nested_completions_roll_up
                anomalies_are_told
                a_smaller_total_learnt_late_is_counted_right
                the_jobs_own_progress_counts
            }
            progress {
                a_new_job_has_an_empty_tree
                a_level_shows_what_is_known_of_each_child
                a_deeper_level_is_found_by_its_parent
                a_level_is_read_in_pages
                a_finished_job_has_no_tree
                a_failed_job_keeps_its_tree
                a_completed_task_has_nothing_below_it
            }
            failures {
                failures_come_in_order_of_arrival
                a_job_shows_the_first_hundred
                failures_are_read_in_pages
                an_unknown_job_has_no_failures
                a_completed_task_has_no_failures
                a_later_failure_has_a_later_place
                failures_outlast_progress
                a_failure_that_is_over_at_once_is_not_kept
                a_repeated_failure_counts_once
                a_completed_job_has_no_failures
                a_failure_keeps_its_text
                a_prerequisites_failure_is_listed_at_the_jobs_own_path
            }
            dependencies {
                a_job_waits_for_its_prerequisite
                a_release_happens_once
                the_last_prerequisite_releases
                a_job_says_what_it_waits_for
                a_prerequisites_status_decides
                complete_prerequisites_do_not_hold_a_job
                prerequisites_are_remembered_when_they_are_met
                a_prerequisite_may_be_created_later
                a_missing_pre_created_prerequisite_is_taken_as_complete
                failed_prerequisites_are_named_in_order
                a_failure_reaches_all_dependents
                only_the_first_failure_reaches_dependents
                a_paused_dependent_fails_too
                a_failure_does_not_pass_through_a_cancelled_job
                a_recovery_does_not_revive_dependents
                a_failure_that_is_over_at_once_reaches_nobody
                a_failed_dependent_may_be_created_anew
                a_job_cannot_wait_for_itself
                a_circle_is_refused_and_named
                a_broken_circle_is_none
                a_diamond_releases_its_end_once
                a_diamond_fails_its_end_once
                a_chain_goes_link_by_link
                one_job_releases_many
                many_jobs_release_one
                a_batch_may_complete_a_job_and_its_dependent
                a_job_that_completes_early_waits_no_more
                progress_releases_nobody
                a_prerequisite_is_of_the_same_partition
                a_store_says_who_waits
            }
            delay {
                a_delayed_job_is_due_after_its_delay
                a_delay_begins_with_the_last_prerequisite
                complete_prerequisites_leave_the_delay
                the_earliest_of_several_releases_is_told
                an_endless_delay_is_no_overflow
                a_delay_runs_on_during_a_pause
                a_repeat_does_not_prolong_the_delay
            }
            outbox {
                an_empty_outbox_gives_nothing
                a_first_message_carries_the_task
                a_claim_takes_no_more_than_its_limit
                a_claim_takes_no_more_than_its_bytes
                entries_have_ids_of_their_own
                the_earliest_due_come_first
                a_busy_partition_does_not_keep_out_a_quiet_one
                small_claims_visit_every_partition
                a_suspended_job_is_held
                a_suspended_dependent_is_held
                the_next_due_time_is_told
                held_entries_are_nothing_to_wake_up_for
                a_published_entry_is_gone
                a_failed_publication_is_tried_again
                a_dispatch_problem_is_shown_in_the_job
                a_finished_job_has_no_dispatch_problem
                a_failing_entry_does_not_hold_up_others
                a_slow_clock_takes_nothing_early
                settling_nothing_does_nothing
                small_claims_together_take_everything
            }
            lease {
                a_leased_entry_is_not_taken_again
                an_ended_lease_gives_the_entry_back
                the_claim_says_how_long_the_lease_is
                a_lease_of_no_time_is_taken_once_by_each_claim
                only_the_owner_settles
                an_entry_without_a_lease_is_not_settled
                answers_come_in_order
                a_late_settlement_counts_while_nobody_took_over
                a_takeover_leaves_the_entry_to_the_new_owner
                a_second_publication_does_not_move_the_start_time
                settling_again_changes_nothing
                a_publication_that_a_cancel_overtook_is_remembered
                a_publication_that_the_worker_overtook_is_remembered
                a_publication_of_a_deleted_job_does_not_touch_its_successor
                a_failed_publication_of_a_cancelled_job_is_forgotten
                a_publication_during_a_pause_counts
                a_lease_that_ends_during_a_pause_gives_nothing_back
                a_short_pause_does_not_end_a_lease
            }
            stow {
                a_kept_message_waits_for_the_resume
                a_kept_message_is_not_changed
                a_message_that_comes_too_late_is_published_at_once
                a_message_of_a_finished_job_is_dropped
                outcomes_come_in_order
                kept_messages_come_back_in_order
                the_same_message_may_be_kept_twice
                finishing_drops_kept_messages
                a_kept_message_is_retried
                a_second_pause_holds_again
                publishing_a_kept_message_is_not_a_dispatch
            }
            redispatch {
                the_first_message_is_published_once_more
                a_task_is_kept_while_its_job_counts
                a_redispatch_is_not_seen_in_the_job
                subtasks_done_once_more_count_once
                a_message_yet_to_be_published_is_left_alone
                a_finished_job_is_not_redispatched
                a_paused_job_is_redispatched_on_resume
                kept_messages_do_not_count
                finishing_drops_a_message_put_back
                a_successor_has_a_message_of_its_own
                a_lease_from_before_is_void
                dependents_of_a_redispatched_job_are_released_once
                a_failed_redispatch_is_tried_again
                steps_visit_what_is_unfinished_in_every_partition
                a_full_last_step_is_the_last
                selected_jobs_are_redispatched
                a_suspension_holds_what_is_put_back_unless_it_has_ended
            }
            overview {
                an_empty_store_shows_nothing
                all_partitions_are_counted_together
                only_what_is_due_and_free_waits
                what_is_on_lease_or_failing_still_waits
                what_is_suspended_does_not_wait
            }
            suspension {
                nothing_of_a_suspended_partition_is_taken
                a_resumed_partition_goes_on
                a_held_job_says_so
                jobs_created_meanwhile_are_held
                a_resume_reaches_jobs_accepted_as_suspended
                doing_it_again_changes_nothing
                everything_else_goes_on
                a_paused_job_stays_held
                kept_messages_are_held_too
                what_was_taken_before_can_be_settled
                suspended_partitions_are_listed
                a_partition_stays_suspended_without_jobs
            }
            prune {
                only_finished_jobs_are_removed
                only_old_jobs_are_removed
                the_oldest_go_first
                only_the_named_statuses_are_removed
                only_jobs_with_the_label_are_removed
                one_partition_or_all
                a_removed_job_leaves_nothing
                dependents_of_a_removed_job_go_on_waiting
                a_recovery_makes_a_job_young_again
            }
            verify {
                a_store_contradicts_itself_nowhere
                a_repair_of_a_sound_store_changes_nothing
                one_job_may_be_checked
                what_is_not_there_is_sound
            }
            isolation {
                reports_do_not_cross
                actions_do_not_cross
                listings_do_not_cross
                failures_do_not_cross
                circles_do_not_cross
                kept_messages_do_not_cross
                checks_do_not_cross
            }
            ;
            concurrency {
                recorders_count_each_subtask_once
                batches_in_opposite_order_both_succeed
                claimers_share_without_overlap
                a_completion_during_creation_is_not_missed
                a_failure_during_creation_is_not_missed
                the_last_prerequisites_release_once
                a_job_is_created_once
                a_circle_is_not_closed_from_two_sides
                creating_in_opposite_order_both_succeed
                a_cancel_during_dispatch_holds
                a_redispatch_puts_a_message_back_once
                a_pause_during_the_last_report_loses_nothing
                readers_see_whole_steps
                everything_at_once_leaves_a_sound_store
            }
        }
    };
    (@tests ($harness:ty)
        $($aspect:ident { $($case:ident)* })* ; $($racing:ident { $($race:ident)* })*
    ) => {
        $(mod $aspect {
            use super::*;
            $(#[::tokio::test]
            async fn $case() {
                let (store, _guard) = <$harness as $crate::store::StoreHarness>::start().await;
                $crate::store::$aspect::$case(&*store).await;
            })*
        })*
        $(mod $racing {
            use super::*;
            $(#[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let (store, _guard) = <$harness as $crate::store::StoreHarness>::start().await;
                $crate::store::$racing::$race(store).await;
            })*
        })*
    };
    (@names () $($aspect:ident { $($case:ident)* })* ; $($racing:ident { $($race:ident)* })*) => {
        &[
            $((stringify!($aspect), &[$(stringify!($case)),*]),)*
            $((stringify!($racing), &[$(stringify!($race)),*]),)*
        ]
    };
}

#[cfg(test)]
mod tests {
    const SUITE: &[(&str, &[&str])] = store_suite! { @cases names () };

    const SOURCES: &[(&str, &str)] = &[
        ("create", include_str!("create.rs")),
        ("identity", include_str!("identity.rs")),
        ("read", include_str!("read.rs")),
        ("list", include_str!("list.rs")),
        ("filter", include_str!("filter.rs")),
        ("count", include_str!("count.rs")),
        ("actions", include_str!("actions.rs")),
        ("bulk", include_str!("bulk.rs")),
        ("record", include_str!("record.rs")),
        ("progress", include_str!("progress.rs")),
        ("failures", include_str!("failures.rs")),
        ("dependencies", include_str!("dependencies.rs")),
        ("delay", include_str!("delay.rs")),
        ("outbox", include_str!("outbox.rs")),
        ("lease", include_str!("lease.rs")),
        ("stow", include_str!("stow.rs")),
        ("redispatch", include_str!("redispatch.rs")),
        ("overview", include_str!("overview.rs")),
        ("suspension", include_str!("suspension.rs")),
        ("prune", include_str!("prune.rs")),
        ("verify", include_str!("verify.rs")),
        ("isolation", include_str!("isolation.rs")),
        ("concurrency", include_str!("concurrency.rs")),
    ];

    #[test]
    fn every_case_is_in_the_suite() {
        assert_eq!(SUITE.len(), SOURCES.len());
        for ((aspect, cases), (file, source)) in SUITE.iter().zip(SOURCES) {
            let written: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('('))
                .map(|(name, _)| name)
                .collect();
            assert_eq!((aspect, *cases), (file, &written[..]));
        }
    }
}
