//! The whole of the lifecycle: every status with every event, as the contract's table (REST contract §3.2, with
//! differences.md) says.

use job_core::JobStatus::{Active, Cancelled, Completed, Failed, Paused, Waiting};
use job_core::Transition::{Ignore, Refuse, Stay, To};
use job_core::recording::JobState;
use job_core::{Event, FirstMessage, JobStatus, Refusal, Timestamp, Transition, transition};

const COLUMNS: [Event; 8] = [
    Event::Progressed,
    Event::AllCompleted,
    Event::SubtaskFailed,
    Event::PrerequisiteFailed,
    Event::Cancel,
    Event::Pause,
    Event::Resume { dispatched: false },
    Event::Resume { dispatched: true },
];

#[test]
fn every_status_answers_every_event_as_the_table_says() {
    let no_cancel = Refuse(Refusal::Cancel);
    let no_pause = |status| Refuse(Refusal::Pause(status));
    let no_resume = |status| Refuse(Refusal::Resume(status));
    let table: [(JobStatus, [Transition; 8]); 6] = [
        (
            Waiting,
            [
                To(Active),
                To(Completed),
                To(Failed),
                To(Failed),
                To(Cancelled),
                To(Paused),
                no_resume(Waiting),
                no_resume(Waiting),
            ],
        ),
        (Active, [Stay, To(Completed), To(Failed), To(Failed), To(Cancelled), To(Paused), Ignore, Ignore]),
        (
            Paused,
            [Stay, To(Completed), To(Failed), To(Failed), To(Cancelled), Ignore, To(Waiting), To(Active)],
        ),
        (
            Failed,
            [
                Stay,
                To(Completed),
                Stay,
                Ignore,
                no_cancel,
                no_pause(Failed),
                no_resume(Failed),
                no_resume(Failed),
            ],
        ),
        (
            Cancelled,
            [
                Ignore,
                Ignore,
                Ignore,
                Ignore,
                Ignore,
                no_pause(Cancelled),
                no_resume(Cancelled),
                no_resume(Cancelled),
            ],
        ),
        (
            Completed,
            [
                Ignore,
                Ignore,
                Ignore,
                Ignore,
                no_cancel,
                no_pause(Completed),
                no_resume(Completed),
                no_resume(Completed),
            ],
        ),
    ];
    for (status, answers) in table {
        for (event, answer) in COLUMNS.into_iter().zip(answers) {
            assert_eq!(transition(status, event), answer, "{status} on {event:?}");
        }
    }
}

#[test]
fn a_transition_always_changes_the_status_and_finished_ones_only_complete() {
    for status in JobStatus::ALL {
        for event in COLUMNS {
            if let To(next) = transition(status, event) {
                assert_ne!(next, status);
                assert!(!status.is_finished() || (status, next) == (Failed, Completed), "{status} -> {next}");
            }
        }
    }
}

#[test]
fn names_read_back_and_sort_alphabetically() {
    for pair in JobStatus::ALL.windows(2) {
        assert!(pair[0] < pair[1] && pair[0].as_str() < pair[1].as_str());
    }
    for status in JobStatus::ALL {
        assert_eq!(status.as_str().parse(), Ok(status));
    }
    assert!("active".parse::<JobStatus>().is_err());
}

#[test]
fn refusals_speak_the_contracts_words() {
    assert_eq!(
        Refusal::Redispatch(Failed).message("j"),
        "job_id {j} cannot be redispatched as it has a status of {Failed}. Only jobs with a status of Active, Paused or Waiting can be redispatched."
    );
    assert_eq!(
        Refusal::MessageNotKept.message("j"),
        "job_id {j} cannot be redispatched as it was dispatched by a version that did not keep its task. Delete it and create it again."
    );
    assert_eq!(Refusal::Cancel.message("j"), "job_id {j} cannot be cancelled");
    assert_eq!(
        Refusal::Pause(Failed).message("j"),
        "job_id {j} cannot be paused as it has a status of {Failed}. Only jobs with a status of Active or Waiting can be paused."
    );
    assert_eq!(
        Refusal::Resume(Waiting).message("j"),
        "job_id {j} cannot be resumed as it has a status of {Waiting}. Only jobs with a status of Paused can be resumed."
    );
}

#[test]
fn only_what_a_worker_would_take_is_redispatched() {
    use FirstMessage::{NotKept, Published, Waiting as InOutbox};
    for status in JobStatus::ALL {
        let answers =
            [InOutbox, Published, NotKept].map(|message| transition(status, Event::Redispatch(message)));
        let expected = match status {
            Waiting | Active | Paused => [Ignore, Stay, Refuse(Refusal::MessageNotKept)],
            Failed | Cancelled | Completed => [Refuse(Refusal::Redispatch(status)); 3],
        };
        assert_eq!(answers, expected, "{status}");
    }
}

#[test]
fn only_what_was_dispatched_is_redispatched() {
    let now = Timestamp::from_millis(1);
    let fresh = JobState::created(now);
    let dispatched = JobState { start_time: Some(now), ..fresh.clone() };
    for (in_outbox, kept) in [(true, true), (true, false), (false, true), (false, false)] {
        assert_eq!(fresh.redispatch(in_outbox, kept), Ignore);
    }
    assert_eq!(dispatched.redispatch(true, true), Ignore);
    assert_eq!(dispatched.redispatch(true, false), Ignore);
    assert_eq!(dispatched.redispatch(false, true), Stay);
    assert_eq!(dispatched.redispatch(false, false), Refuse(Refusal::MessageNotKept));
}
