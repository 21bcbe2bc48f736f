//! The conformance suite: one set of cases that the model and every driver run.
//!
//! A case is an `async fn(World)` in `cases/`; it is named once more in the list below, which makes it a test
//! of every driver. A driver brings a [`harness::Driver`] in `drivers/` and one line at the end of this file.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod cases;
mod drivers;
mod harness;
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
                a_lock_is_had_by_as_many_jobs_as_its_limit,
                claims_of_one_call_are_answered_in_their_order,
                a_free_takes_only_what_that_job_of_that_owner_has,
                a_lock_outlives_its_run_until_it_is_freed,
                an_owner_that_is_gone_has_no_locks,
                a_job_that_the_owner_does_not_hold_gets_nothing,
                a_rate_grants_a_burst_and_then_says_how_long_to_wait,
                a_rate_has_room_again_after_exactly_the_time_it_said,
                the_largest_and_the_smallest_rate_hold,
                channels_do_not_share_locks_and_rates,
                strange_keys_are_keys,
                of_many_owners_at_once_no_more_than_the_limit_get_a_lock,
            }
            commands {
                requeue_moves_failed_jobs_and_passes_over_others,
                discard_removes_all_but_reserved_jobs,
                what_was_discarded_leaves_no_trace_in_waiting,
                clear_empties_the_states_it_is_told_to,
                clear_reload_and_remove_count_exactly_under_load,
                jobs_pushed_after_a_clear_began_survive,
                an_interrupted_clear_is_finished_by_the_next,
                reload_and_remove_obey_their_filter,
                a_reload_ends_while_jobs_fail_again_at_once,
            }
            crowd {
                two_thousand_leases_by_fifty_owners_are_distinct,
                every_job_of_many_pushers_is_done_once_by_many_masters,
                the_status_adds_up_at_every_moment,
                a_key_pushed_ten_thousand_times_by_twenty_threads_yields_one_job,
            }
            delay {
                a_delayed_job_runs_when_the_stores_clock_says_so,
                due_jobs_go_to_the_back_in_the_order_they_are_due,
                a_time_that_has_passed_means_now,
                a_settlement_can_delay_a_job,
                many_that_are_due_at_once_are_moved_in_bounded_steps,
            }
            ids {
                ids_are_exact_and_tell_when_the_job_was_pushed,
                an_id_is_never_used_again,
                channels_of_one_store_do_not_see_each_other,
            }
            limits {
                a_batch_too_large_is_refused_whole,
                a_job_that_breaks_a_rule_is_named_and_nothing_is_added,
                leasing_stops_once_enough_bytes_are_aboard,
                the_largest_payload_comes_back_whole,
                strange_text_comes_back_as_it_was,
                a_turn_that_wants_nothing_leases_nothing,
            }
            malformed {
                one_among_others_is_set_aside_as_found,
                it_is_shown_wherever_it_stands_and_does_not_stop_a_page,
                it_can_be_fetched_taken_discarded_and_given_back,
                reloaded_it_ends_in_failed_again,
            }
            order {
                first_in_first_out,
                front_comes_before_everything_and_back_after_it,
                what_a_leaving_owner_held_comes_first_in_the_order_of_ids,
                a_settled_job_can_be_leased_again_in_the_same_turn,
                a_page_ends_where_the_next_begins,
                reserved_jobs_are_listed_whoever_holds_them,
            }
            pause {
                it_stops_leasing_for_everybody_and_resume_ends_it,
                one_with_an_end_is_over_when_the_stores_clock_says_so,
                one_that_is_over_is_so_before_any_master_looks,
                a_later_one_replaces_an_earlier_one,
                all_but_leasing_goes_on_meanwhile,
                the_longest_is_ten_years_and_of_one_channel_only,
            }
            priority {
                high_comes_before_normal_before_low,
                front_and_back_are_those_of_the_priority,
                due_jobs_go_to_the_back_of_their_priority,
                what_owners_held_comes_first_within_its_priority_over_many_batches,
                reloaded_jobs_go_to_the_back_of_their_priority,
                a_page_ends_where_the_next_begins_also_between_priorities,
                a_job_behind_ten_thousand_of_a_higher_priority_is_not_taken,
                what_was_taken_returns_to_its_priority,
                discard_and_clear_know_all_priorities,
                one_turn_is_bounded_over_all_priorities,
                a_job_of_any_priority_wakes_those_who_wait,
                front_and_back_of_one_turn_meet_in_an_empty_channel,
            }
            random {
                a_driver_does_what_the_model_does,
            }
            reap {
                a_lapsed_owner_is_reaped_and_a_live_one_is_not,
                a_lapsed_owner_nobody_reaped_renews_by_its_next_turn,
                an_owner_known_to_be_dead_is_reaped_at_once,
                an_owner_without_jobs_is_reaped_too,
                the_third_lost_master_fails_the_job_and_frees_its_key,
                neither_leaving_nor_settling_raises_lost,
                reap_against_settle_leaves_every_job_in_one_place,
                one_unreadable_record_among_ten_thousand_does_not_stop_the_reaper,
                what_is_reaped_keeps_its_order_also_over_many_batches,
                an_interrupted_reap_is_finished_by_another,
            }
            reconcile {
                a_lost_lease_reply_is_adopted,
                a_lost_settle_reply_is_applied_once,
                the_held_count_of_a_turn_is_exact,
            }
            settle {
                each_place_holds,
                each_place_holds_alone,
                what_others_hold_is_stale_and_what_is_gone_is_cleared,
                a_job_settled_twice_in_one_batch_is_settled_once,
                cleared_while_it_ran,
                a_repeated_number_changes_nothing,
                an_owner_that_is_gone_stays_gone,
                counts_and_errors_come_back_as_they_were_written,
            }
            take {
                a_job_is_taken_from_where_it_stands,
                what_is_not_there_is_not_taken,
                a_job_deep_in_waiting_is_not_taken,
            }
            unique {
                a_key_that_is_held_answers_with_its_holder,
                a_key_is_free_after_done_failed_discard_and_clear,
                a_failed_job_takes_its_key_again_when_it_is_requeued,
                a_key_whose_record_is_gone_is_free,
                of_many_pushers_of_one_key_one_adds,
                a_key_until_start_is_free_when_the_channel_says_so,
                a_free_takes_no_key_of_another_job,
                a_key_held_for_a_time_is_held_whatever_becomes_of_the_job,
                a_key_is_free_when_its_time_is_over_and_not_taken_by_an_older_job,
                both_ways_of_holding_a_key_share_one_set,
                a_key_held_for_a_time_is_not_taken_again,
                a_failed_job_takes_its_key_again_when_it_is_taken,
                whoever_asks_for_the_holder_of_a_key_hears_what_a_push_would_be_told,
            }
            wait {
                without_work_it_ends_by_its_time_limit,
                a_push_from_before_the_wait_is_not_missed,
                it_wakes_when_another_handle_makes_work,
                it_wakes_when_its_own_handle_makes_work,
            }
        }
    };
    (@cases $driver:ident, $start:path; $($group:ident { $($case:ident,)* })*) => {
        mod $driver {
            $(mod $group {
                $(
                    #[test]
                    fn $case() {
                        crate::harness::run($start, crate::cases::$group::$case);
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
