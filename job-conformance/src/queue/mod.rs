//! The suite for [`TaskQueue`].
//!
//! A backend names its harness once and gets one test per case:
//!
//! ```ignore
//! job_conformance::queue_suite!(RabbitHarness);
//! ```
//!
//! Every case takes fresh names from its harness, so that all may run at once against one broker. None waits for
//! nothing to happen: that something does not come is shown by what came instead.
#![expect(clippy::unwrap_used, reason = "a case fails by panicking")]

pub mod closing;
pub mod concurrency;
pub mod content;
pub mod declaring;
pub mod deleting;
pub mod delivering;
mod forwarding;
mod line;
pub mod publishing;
pub mod redelivering;
pub mod settling;

use std::sync::Arc;

use async_trait::async_trait;
use job_core::queue::TaskQueue;

pub use forwarding::ForwardingQueue;

/// How the suite reaches a backend. Dropping it, also by a panic, removes what the case left behind.
#[async_trait]
pub trait QueueHarness: Send + Sync + 'static {
    /// Everything one case needs.
    async fn start() -> Self
    where
        Self: Sized;

    /// A new connection; all connections of one harness see the same queues.
    async fn connect(&self) -> Arc<dyn TaskQueue>;

    /// A new connection which does not declare a missing queue when it publishes. Its queues may be its own.
    async fn connect_undeclaring(&self) -> Arc<dyn TaskQueue>;

    /// Deletes a queue with all that is on it, behind the back of whoever uses it, as an operator might.
    async fn delete_queue(&self, name: &str);

    /// Whether a queue is wholly gone when [`QueueHarness::delete_queue`] returns. Where the backend goes on deleting, what is
    /// published next may go with the old queue, and the cases that look for it are left out.
    fn deletes_at_once(&self) -> bool {
        true
    }

    /// A name ending in `suffix` that nobody has used before.
    fn queue_name(&self, suffix: &str) -> String;

    /// Whether each redelivery counts; a backend that only flags them reports 1 for all.
    fn counts_redeliveries(&self) -> bool;
}

/// Expands to one `#[tokio::test]` per case of the suite, named after the case.
#[macro_export]
macro_rules! queue_suite {
    ($harness:ty) => {
        $crate::queue_suite! { @cases $harness;
            publishing::outcomes_come_one_per_message_in_order,
            publishing::an_empty_batch_has_no_outcomes,
            publishing::a_confirmed_message_waits_on_its_queue,
            publishing::a_missing_queue_is_declared,
            publishing::a_missing_queue_is_unroutable_when_nothing_declares_it,
            publishing::a_batch_may_go_to_many_queues,
            publishing::ten_thousand_messages_in_one_batch_all_arrive,
            publishing::a_message_published_twice_is_two_messages,
            publishing::a_dropped_publish_leaves_the_queue_usable,
            content::a_body_arrives_byte_for_byte,
            content::a_body_of_four_mebibytes_arrives,
            content::bodies_of_every_size_around_a_frame_arrive,
            content::headers_arrive,
            content::an_id_travels_with_its_message,
            content::a_delivery_names_its_queue,
            content::messages_come_roughly_in_order,
            declaring::declaring_twice_keeps_what_is_there,
            declaring::a_missing_queue_has_no_depth,
            declaring::a_declared_queue_is_empty,
            declaring::depth_does_not_count_what_is_in_hand,
            declaring::consuming_declares_a_missing_queue,
            declaring::names_may_be_of_any_script,
            declaring::similar_names_are_different_queues,
            declaring::a_name_that_is_too_long_is_a_permanent_error,
            declaring::a_name_that_no_queue_can_have_is_refused_everywhere,
            declaring::a_prefetch_of_zero_is_a_permanent_error,
            declaring::an_open_connection_answers_a_ping,
            deleting::a_consumer_goes_on_when_its_queue_exists_again,
            deleting::all_consumers_of_a_deleted_queue_go_on,
            deleting::what_was_in_hand_can_be_settled_and_does_not_come_again,
            deleting::other_queues_do_not_notice,
            deleting::a_deleted_queue_has_no_depth,
            delivering::a_waiting_consumer_is_woken,
            delivering::a_consumer_gets_what_waited_before_it,
            delivering::prefetch_is_never_exceeded,
            delivering::every_settlement_makes_room,
            delivering::a_prefetch_of_one_delivers_everything_one_by_one,
            delivering::consumers_share_a_queue,
            delivering::a_full_consumer_holds_up_no_other,
            delivering::a_backlog_holds_up_no_other_queue,
            delivering::a_poll_given_up_loses_nothing,
            settling::an_acked_message_is_gone,
            settling::a_rejected_message_is_gone,
            settling::a_requeued_message_comes_again,
            settling::settling_one_leaves_older_ones_in_hand,
            settling::deliveries_may_be_settled_in_any_order,
            settling::a_batch_with_gaps_settles_no_more_than_it_names,
            settling::a_large_batch_is_acked_at_once,
            settling::a_batch_is_requeued_whole,
            settling::a_batch_is_rejected_whole,
            settling::a_batch_may_span_consumers_queues_and_connections,
            settling::an_empty_batch_settles_nothing,
            settling::a_delivery_outlives_its_consumer,
            redelivering::a_dropped_delivery_comes_again,
            redelivering::a_delivery_dropped_by_a_panic_comes_again,
            redelivering::a_delivery_of_an_aborted_task_comes_again,
            redelivering::a_dropped_consumer_gives_back_what_it_did_not_take,
            redelivering::a_delivery_dropped_after_its_consumer_comes_again,
            redelivering::a_requeued_message_may_go_to_another_consumer,
            redelivering::redeliveries_are_counted,
            redelivering::content_survives_redelivery,
            closing::streams_end,
            closing::a_waiting_consumer_is_woken_and_ends,
            closing::what_was_in_hand_comes_again,
            closing::what_was_not_taken_comes_again,
            closing::settling_afterwards_is_unavailable,
            closing::later_calls_are_unavailable,
            closing::twice_is_harmless,
            closing::other_connections_stay_open,
            closing::confirmed_messages_stay,
            concurrency::every_message_of_many_producers_is_settled_once_by_many_consumers,
            concurrency::consumers_come_and_go_and_nothing_is_lost,
            concurrency::concurrent_batches_keep_their_own_outcomes,
        }
    };
    (@cases $harness:ty; $($module:ident::$case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let harness = <$harness as $crate::queue::QueueHarness>::start().await;
                $crate::queue::$module::$case(&harness).await;
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_suite() {
        let list = include_str!("mod.rs");
        let modules = [
            ("closing", include_str!("closing.rs")),
            ("concurrency", include_str!("concurrency.rs")),
            ("content", include_str!("content.rs")),
            ("declaring", include_str!("declaring.rs")),
            ("deleting", include_str!("deleting.rs")),
            ("delivering", include_str!("delivering.rs")),
            ("publishing", include_str!("publishing.rs")),
            ("redelivering", include_str!("redelivering.rs")),
            ("settling", include_str!("settling.rs")),
        ];
        for (module, source) in modules {
            let cases =
                source.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
            for case in cases {
                let case = format!("{module}::{case},");
                assert!(list.contains(&case), "{case} is missing in `queue_suite!`");
            }
        }
    }
}
