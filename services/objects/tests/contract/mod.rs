//! The contract, as one function for each promise. `suite!` makes a test of each for one backend.

pub(crate) mod faults;
pub(crate) mod locks;
pub(crate) mod names;
pub(crate) mod reading;
pub(crate) mod writing;

use openarchive_objects::ObjectKey;

pub(crate) fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// `suite!(name, make)`: module `name` with the whole contract; `crate::make()` gives a fresh [`crate::Subject`].
macro_rules! suite {
    ($backend:ident, $make:ident) => {
        mod $backend {
            $crate::contract::tests!($make, writing: [
                of_16_creators_at_once_exactly_one_wins_and_its_bytes_stand,
                an_object_is_created_once_and_says_what_was_stored,
                a_file_is_consumed_by_creating_and_kept_when_the_name_is_taken,
                creating_again_with_the_same_bytes_matches_and_with_others_does_not,
                replacing_makes_or_changes_an_object_whole,
                deleting_removes_and_deleting_again_is_success,
                an_empty_object_is_an_object,
            ]);
            $crate::contract::tests!($make, reading: [
                a_range_is_exact_or_refused,
                a_reader_gives_the_whole_in_pieces,
                what_is_not_there_is_not_found,
                a_whole_read_beyond_its_limit_is_refused,
                what_was_written_reads_back_and_anything_else_does_not,
            ]);
            $crate::contract::tests!($make, locks: [
                a_locked_object_is_neither_deleted_nor_replaced_until_its_date,
                a_lock_is_extended_and_never_shortened,
                a_lost_race_does_not_change_the_lock,
                matching_again_with_a_later_lock_extends_it,
            ]);
            $crate::contract::tests!($make, names: [
                a_listing_is_in_byte_order_and_only_of_the_prefix,
                pages_together_are_the_listing,
            ]);
            $crate::contract::tests!($make, faults: [
                a_failed_call_does_nothing_and_a_lost_answer_does_everything,
                only_the_planned_calls_go_wrong,
                a_writer_that_repeats_itself_succeeds_after_either_fault,
                a_lost_write_is_answered_like_any_other_and_did_not_happen,
                a_plan_for_a_prefix_counts_only_the_writes_under_it,
            ]);
        }
    };
}

macro_rules! tests {
    ($make:ident, $group:ident: [$($promise:ident,)*]) => {
        mod $group {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    crate::contract::$group::$promise(crate::$make()).await;
                }
            )*
        }
    };
}

pub(crate) use {suite, tests};
