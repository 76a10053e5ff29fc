//! Fault campaigns: the built server, real PostgreSQL and RabbitMQ, and somebody who kills them.
//!
//! Whoever drives a campaign lives in this process, which nobody kills, and keeps ledgers of what was asked, answered and
//! received; workers that are killed tell it what they get before they do anything. When the faults are over everything
//! must come to rest, and the ledgers must agree with what is stored.
//!
//! `JOB_CAMPAIGN_SEED=n` repeats a campaign's decisions; every campaign prints its seed. `JOB_CAMPAIGN=1` makes them long.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod broker;
mod clients;
mod crash_points;
mod http;
mod ledger;
mod outages;
mod process;
mod random_kills;
mod recovery;
mod rig;
mod signals;
mod tripwire;
mod verdict;
mod worker_process;
mod workers;

/// What decides everything that is decided at random.
fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the environment says which campaign to repeat")]
    let chosen = std::env::var("JOB_CAMPAIGN_SEED").ok();
    let seed = chosen.map_or(20_261_124, |text| text.parse().expect("JOB_CAMPAIGN_SEED is a number"));
    eprintln!("JOB_CAMPAIGN_SEED={seed}");
    seed
}

/// `short` of something, or `long` when a long campaign was asked for.
fn how_many(short: u32, long: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "the environment says how long a campaign is")]
    let is_long = std::env::var_os("JOB_CAMPAIGN").is_some();
    if is_long { long } else { short }
}
