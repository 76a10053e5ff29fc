//! The suite for [`JobStore`](job_core::store::JobStore).
