//! The conformance suite: one set of cases that the model and every driver run.
//!
//! A case is an `async fn(Fixture)` in `cases/`; it is named once more in the list below, which makes it a test
//! of every driver. A driver brings a [`fixture::Driver`] in `drivers/` and one line at the end of this file.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod cases;
mod drivers;
mod fixture;
mod on_disk;
mod processes;
mod redis_only;
mod schema;
#[path = "../support/mod.rs"]
mod support;

/// Makes every case a test of the driver whose stores `$start` makes.
macro_rules! conformance {
    ($driver:ident, $start:path) => {
        conformance! { @cases $driver, $start;
            claims {
                lock_is_granted_up_to_its_limit,
                claims_of_one_call_are_answered_in_order,
                release_frees_only_keys_of_that_job_and_owner,
                lock_outlives_its_run_until_released,
                ended_owner_has_no_locks,
                claim_for_an_unheld_job_is_denied,
                rate_grants_a_burst_then_returns_the_wait,
                rate_has_room_after_exactly_the_returned_wait,
                largest_and_smallest_rates_hold,
                channels_do_not_share_locks_and_rates,
                any_text_is_a_valid_limit_key,
                concurrent_owners_never_exceed_the_lock_limit,
            }
            commands {
                requeue_moves_failed_jobs_only,
                discard_removes_all_but_reserved_jobs,
                discard_leaves_no_trace_in_waiting,
                clear_empties_the_given_states,
                clear_reload_and_remove_count_exactly_under_load,
                jobs_pushed_after_a_clear_began_survive,
                interrupted_clear_is_finished_by_the_next,
                reload_and_remove_obey_their_filter,
                reload_ends_while_jobs_fail_again,
            }
            concurrency {
                two_thousand_leases_by_fifty_owners_are_distinct,
                concurrent_masters_do_every_job_once,
                status_counts_add_up_under_load,
                ten_thousand_pushes_of_one_key_make_one_job,
            }
            delay {
                delayed_job_is_due_by_the_store_clock,
                due_jobs_go_to_the_back_in_due_order,
                past_start_means_now,
                settlement_can_delay_a_job,
                many_due_jobs_are_moved_in_bounded_steps,
            }
            ids {
                ids_are_exact_and_carry_the_push_time,
                ids_are_never_reused,
                channels_of_one_store_are_isolated,
            }
            limits {
                oversized_batch_is_refused_whole,
                invalid_job_is_named_and_nothing_is_added,
                leasing_stops_at_max_bytes,
                largest_payload_round_trips,
                unusual_text_round_trips,
                turn_wanting_zero_leases_nothing,
            }
            malformed {
                malformed_record_is_set_aside_as_found,
                malformed_record_is_listed_in_every_state,
                malformed_record_supports_all_operations,
                reloaded_malformed_record_fails_again,
            }
            order {
                first_in_first_out,
                front_precedes_and_back_follows_waiting_jobs,
                jobs_of_leaving_owner_come_first_by_id,
                settled_job_can_be_leased_in_the_same_turn,
                pages_are_contiguous,
                reserved_jobs_of_all_owners_are_listed,
            }
            pause {
                pause_stops_all_leasing_until_resume,
                timed_pause_ends_by_the_store_clock,
                expired_pause_needs_no_master_to_end,
                later_pause_replaces_an_earlier_one,
                pause_stops_only_leasing,
                pause_is_at_most_ten_years_and_per_channel,
            }
            priority {
                high_precedes_normal_precedes_low,
                front_and_back_are_per_priority,
                due_jobs_go_to_the_back_of_their_priority,
                reaped_jobs_come_first_within_their_priority,
                reloaded_jobs_go_to_the_back_of_their_priority,
                pages_are_contiguous_across_priorities,
                job_behind_ten_thousand_higher_ones_is_not_taken,
                taken_job_returns_to_its_priority,
                discard_and_clear_cover_all_priorities,
                turn_is_bounded_over_all_priorities,
                job_of_any_priority_wakes_waiters,
                front_and_back_of_one_turn_keep_their_order,
            }
            random {
                driver_matches_the_model,
            }
            reap {
                only_the_lapsed_owner_is_reaped,
                unreaped_lapsed_owner_renews_by_its_next_turn,
                owner_known_dead_is_reaped_at_once,
                owner_without_jobs_is_reaped,
                third_lost_master_fails_job_and_frees_key,
                leaving_and_settling_do_not_count_as_lost,
                reap_against_settle_leaves_every_job_in_one_place,
                malformed_record_does_not_stop_the_reaper,
                reaped_jobs_keep_their_order_over_batches,
                interrupted_reap_is_finished_by_another,
            }
            reconcile {
                lost_lease_reply_is_adopted,
                lost_settle_reply_is_applied_once,
                held_count_of_a_turn_is_exact,
            }
            settle {
                each_destination_holds,
                each_destination_holds_alone,
                foreign_jobs_are_stale_and_missing_ones_cleared,
                double_settlement_in_one_batch_counts_once,
                job_cleared_while_running,
                repeated_sequence_number_changes_nothing,
                ended_owner_stays_ended,
                counts_and_errors_round_trip,
            }
            take {
                job_is_taken_from_its_state,
                missing_job_is_not_taken,
                job_deep_in_waiting_is_not_taken,
            }
            unique {
                held_key_returns_its_holder,
                key_is_free_after_done_failed_discard_and_clear,
                requeued_job_takes_its_key_again,
                key_of_a_missing_record_is_free,
                concurrent_pushes_of_one_key_add_one,
                key_until_start_is_freed_by_the_channel,
                release_takes_no_key_of_another_job,
                timed_key_is_held_after_its_job_ends,
                expired_key_is_not_retaken_by_an_older_job,
                timed_and_untimed_keys_share_one_namespace,
                timed_key_is_not_taken_again,
                taken_failed_job_takes_its_key_again,
                holder_matches_what_push_reports,
            }
            wait {
                wait_without_work_times_out,
                push_before_the_wait_is_not_missed,
                wait_wakes_on_work_of_another_handle,
                wait_wakes_on_work_of_its_own_handle,
            }
        }
    };
    (@cases $driver:ident, $start:path; $($group:ident { $($case:ident,)* })*) => {
        mod $driver {
            $(mod $group {
                $(
                    #[test]
                    fn $case() {
                        crate::fixture::run($start, crate::cases::$group::$case);
                    }
                )*
            })*
        }
    };
}

conformance!(model, crate::drivers::model::start);
conformance!(redis, crate::drivers::redis::start);
conformance!(redis_modest, crate::drivers::redis::start_modest);
conformance!(sqlite, crate::drivers::sqlite::start);
