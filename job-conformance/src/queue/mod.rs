//! The suite for [`TaskQueue`](job_core::queue::TaskQueue).
