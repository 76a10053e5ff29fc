//! Whole flows, the same on every pair of backends: in memory, and on PostgreSQL with RabbitMQ.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unreachable_pub, clippy::allow_attributes, reason = "modules of one test binary")]

mod batches;
mod control;
mod deaths;
mod forgetful_queue;
mod workers;

/// One test per flow and backends.
macro_rules! on_every_backend {
    ($($module:ident::$flow:ident),+ $(,)?) => {
        mod memory {
            use std::sync::Arc;

            use job_tests::backends::Backends;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $flow() {
                    crate::$module::$flow(&Arc::new(Backends::memory())).await;
                }
            )+
        }

        mod services {
            use std::sync::Arc;

            use job_tests::backends::Backends;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $flow() {
                    crate::$module::$flow(&Arc::new(Backends::services().await)).await;
                }
            )+
        }
    };
}

on_every_backend! {
    batches::every_subtask_counts_exactly_once_whatever_the_workers_do,
    batches::failures_are_healed_by_completions_and_kept_without_them,
    batches::dependents_start_in_order_after_their_delay_and_once,
    batches::two_servers_share_the_work,
    control::a_paused_job_is_stowed_and_goes_on_where_it_was,
    control::a_cancelled_job_stops_running_tasks_and_drops_the_others,
    control::a_worker_that_panics_fails_its_task_and_nothing_else,
    control::waiting_for_a_job_ends_with_its_time,
    deaths::stopping_under_load_loses_nothing,
    deaths::killed_servers_and_workers_lose_nothing,
}
