//! What the end-to-end tests share: an engine on any pair of backends, workers that misbehave by seed, and the check
//! that nothing was lost, stuck or counted twice.

pub mod backends;
pub mod hooked_queue;
pub mod random;
pub mod scenario;
pub mod unreliable;
pub mod waiting;
