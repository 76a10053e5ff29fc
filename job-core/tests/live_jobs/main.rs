//! The limit on the live jobs of a partition.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod store;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{FutureExt as _, join_all};
use job_core::clock::ManualClock;
use job_core::progress::ReportEvent;
use job_core::store::{Action, JobStore as _, Suspension, TaskReport};
use job_core::{
    Created, ErrorKind, Failure, JobKey, JobService, JobStatus, NewJob, Result, TaskSpec, Timestamp,
};
use tokio::sync::Semaphore;

use store::{Watch, WatchedStore};

struct Rig {
    service: JobService,
    store: Arc<WatchedStore>,
    clock: ManualClock,
}

impl Rig {
    fn new(max: u64) -> Self {
        Self::with_permits(max, Semaphore::MAX_PERMITS)
    }

    fn with_permits(max: u64, permits: usize) -> Self {
        let (store, clock) =
            (Watch::store_with_permits(permits), ManualClock::new(Timestamp::from_millis(1_000)));
        let service = JobService::new(Arc::clone(&store) as _)
            .with_clock(Arc::new(clock.clone()))
            .with_live_jobs_max(max);
        Self { service, store, clock }
    }

    async fn create(&self, id: &str) -> Result<Created, ErrorKind> {
        self.service.create(job("p", id)).await.map_err(|error| error.kind())
    }

    async fn report(&self, id: &str, event: ReportEvent) {
        let report = TaskReport { job: key("p", id), task: "".parse().unwrap(), event };
        self.store.record(&[report], Timestamp::from_millis(1_000)).await.unwrap();
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

fn key(partition: &str, id: &str) -> JobKey {
    JobKey::parse(partition, id).unwrap()
}

fn job(partition: &str, id: &str) -> NewJob {
    NewJob::new(key(partition, id), TaskSpec::json("W", "w-in", &"data").unwrap())
}

fn failed() -> ReportEvent {
    ReportEvent::Failed(Failure {
        id: "F".into(),
        time: Timestamp::from_millis(1),
        source: "w".into(),
        message: "why".into(),
    })
}

const NEW: Result<Created, ErrorKind> = Ok(Created::New);
const REPEAT: Result<Created, ErrorKind> = Ok(Created::Repeat);
const REFUSED: Result<Created, ErrorKind> = Err(ErrorKind::LimitReached);

#[tokio::test]
async fn a_partition_has_no_more_live_jobs_than_it_may() {
    let rig = Rig::new(2);
    assert_eq!((rig.create("a").await, rig.create("b").await), (NEW, NEW));
    let refused = rig.service.create(job("p", "c")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.is_transient()), (ErrorKind::LimitReached, true));
    assert_eq!(
        refused.message(),
        "the partition has 2 live (unfinished) jobs, and at most 2 are allowed: wait until some finish, cancel or delete \
         some, or have the limit on live jobs raised"
    );
    assert_eq!(rig.store.get(&[key("p", "c")]).await.unwrap(), [None]);
    assert_eq!(rig.service.create(job("q", "c")).await.unwrap(), Created::New, "it is another partition");
}

#[tokio::test]
async fn what_finishes_or_goes_makes_room_within_a_second() {
    for way in ["complete", "fail", "cancel", "delete"] {
        let rig = Rig::new(1);
        assert_eq!((rig.create("a").await, rig.create("b").await), (NEW, REFUSED), "{way}");
        match way {
            "complete" => rig.report("a", ReportEvent::Complete).await,
            "fail" => rig.report("a", failed()).await,
            "cancel" => assert!(rig.service.act(&key("p", "a"), Action::Cancel).await.unwrap()),
            _ => assert!(rig.service.act(&key("p", "a"), Action::Delete).await.unwrap()),
        }
        rig.pass(999);
        assert_eq!(rig.create("b").await, REFUSED, "{way}");
        rig.pass(1);
        assert_eq!((rig.create("b").await, rig.create("c").await), (NEW, REFUSED), "{way}");
    }
}

#[tokio::test]
async fn jobs_that_are_held_are_live() {
    let rig = Rig::new(2);
    rig.store.suspend(&"p".parse().unwrap(), Suspension::Hold).await.unwrap();
    assert_eq!((rig.create("a").await, rig.create("b").await), (NEW, NEW));
    rig.service.act(&key("p", "a"), Action::Pause).await.unwrap();
    assert_eq!(rig.service.status(&key("p", "a")).await.unwrap(), JobStatus::Paused);
    rig.pass(1_000);
    assert_eq!(rig.create("c").await, REFUSED);
}

#[tokio::test]
async fn creates_of_jobs_that_exist_are_answered_as_ever() {
    let rig = Rig::new(2);
    assert_eq!((rig.create("a").await, rig.create("b").await), (NEW, NEW));
    assert_eq!(rig.create("c").await, REFUSED);
    rig.report("b", ReportEvent::Complete).await;
    assert_eq!((rig.create("a").await, rig.create("b").await), (REPEAT, REPEAT));
    let other = rig.service.create(job("p", "a").with_name("another")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
    assert_eq!(rig.create("c").await, REFUSED, "those took no room and made none");
    rig.pass(1_000);
    assert_eq!((rig.create("c").await, rig.create("d").await), (NEW, REFUSED));
}

#[tokio::test]
async fn what_is_not_created_after_all_takes_no_room() {
    let rig = Rig::new(2);
    assert_eq!(rig.create("a").await, NEW);
    rig.report("a", failed()).await;
    rig.pass(1_000);
    assert_eq!(rig.create("b").await, NEW);
    for _ in 0..5 {
        assert_eq!(rig.create("b").await, REPEAT);
        let dependent = job("p", "c").after(["a".parse().unwrap()]);
        assert_eq!(rig.service.create(dependent).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!((rig.create("c").await, rig.create("d").await), (NEW, REFUSED));
}

#[tokio::test]
async fn the_store_is_seldom_asked() {
    let rig = Rig::new(1_000_000);
    for number in 0..100 {
        assert_eq!(rig.create(&format!("a{number}")).await, NEW);
    }
    rig.pass(59_000);
    assert_eq!((rig.create("b").await, rig.store.counts()), (NEW, 1), "the limit is far away");
    rig.pass(1_000);
    assert_eq!((rig.create("c").await, rig.store.counts()), (NEW, 2));
    let full = Rig::new(1);
    assert_eq!(full.create("a").await, NEW);
    for second in 1..10 {
        for number in 0..10 {
            assert_eq!(full.create(&format!("b{number}")).await, REFUSED);
        }
        assert_eq!(full.store.counts(), 1 + second);
        full.pass(1_000);
    }
}

#[tokio::test]
async fn jobs_that_finish_at_once_are_not_taken_for_live() {
    let rig = Rig::new(10);
    for number in 0..100 {
        let id = format!("a{number}");
        assert_eq!(rig.create(&id).await, NEW, "{number}");
        rig.report(&id, ReportEvent::Complete).await;
    }
    assert_eq!(rig.store.counts(), 10, "for each ten there was room once it was looked");
}

#[tokio::test]
async fn without_a_limit_nobody_counts() {
    let rig = Rig::new(0);
    for number in 0..100 {
        assert_eq!(rig.create(&format!("a{number}")).await, NEW);
    }
    let unlimited = JobService::new(Arc::clone(&rig.store) as _);
    assert_eq!(unlimited.create(job("p", "b")).await.unwrap(), Created::New, "nor by default");
    assert_eq!((rig.store.counts(), rig.store.statuses.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn jobs_of_a_batch_are_refused_one_by_one() {
    let rig = Rig::new(3);
    let batch = [
        job("p", "a"),
        job("p", "b"),
        job("p", "a"),
        job("p", "c").with_name("x".repeat(10_000)),
        job("p", "c"),
        job("p", "d"),
        job("q", "d"),
        job("p", "d"),
    ];
    let kinds = async |batch: Vec<NewJob>| {
        let answers = rig.service.create_all(batch).await.unwrap();
        answers.into_iter().map(|answer| answer.map_err(|error| error.kind())).collect::<Vec<_>>()
    };
    let invalid = Err(ErrorKind::Invalid);
    assert_eq!(kinds(batch.into()).await, [NEW, NEW, REPEAT, invalid, NEW, REFUSED, NEW, REFUSED]);
    assert_eq!(kinds(vec![job("p", "d"), job("p", "a"), job("p", "e")]).await, [REFUSED, REPEAT, REFUSED]);
    assert_eq!(kinds(vec![job("p", "d"), job("p", "e")]).await, [REFUSED, REFUSED]);
    assert_eq!(rig.store.statuses.load(Ordering::SeqCst), 3, "once for each batch with refusals");
    rig.service.act(&key("p", "a"), Action::Delete).await.unwrap();
    rig.pass(1_000);
    assert_eq!(kinds(vec![job("p", "d"), job("p", "e")]).await, [NEW, REFUSED]);
    rig.service.act(&key("p", "b"), Action::Delete).await.unwrap();
    rig.pass(1_000);
    let again = ["c", "d", "e", "f"].map(|id| job("p", id));
    assert_eq!(kinds(again.into()).await, [REPEAT, REPEAT, NEW, REFUSED], "what exists takes nobody's place");
}

#[tokio::test]
async fn of_many_at_once_only_one_counts_and_no_more_get_in_than_may() {
    let rig = Rig::with_permits(3, 0);
    let ids: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
    let mut creates: Vec<_> = ids.iter().map(|id| rig.create(id).boxed()).collect();
    for create in &mut creates {
        assert!(create.now_or_never().is_none(), "nobody knows yet how many there are");
    }
    assert_eq!(rig.store.counts(), 1);
    rig.store.gate.add_permits(100);
    let answers = join_all(creates).await;
    assert_eq!(answers.iter().filter(|answer| **answer == NEW).count(), 3, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == REFUSED).count(), 7, "{answers:?}");
}

#[tokio::test]
async fn while_one_counts_the_others_go_by_what_was_known() {
    let rig = Rig::with_permits(3, 1);
    assert_eq!(rig.create("a").await, NEW);
    rig.pass(1_000);
    let mut counting = rig.create("b").boxed();
    assert!((&mut counting).now_or_never().is_none());
    assert_eq!((rig.create("c").await, rig.store.counts()), (NEW, 2));
    drop(counting);
    rig.store.gate.add_permits(1);
    assert_eq!((rig.create("d").await, rig.store.counts()), (NEW, 3), "whoever goes away leaves its turn");
}

#[tokio::test]
async fn nobody_is_refused_because_the_store_cannot_say() {
    let rig = Rig::new(1);
    rig.store.is_silent.store(true, Ordering::SeqCst);
    assert_eq!((rig.create("a").await, rig.create("b").await), (NEW, NEW));
    assert_eq!(rig.store.counts(), 1);
    rig.store.is_silent.store(false, Ordering::SeqCst);
    rig.pass(1_000);
    assert_eq!(rig.create("c").await, REFUSED);
    rig.store.is_silent.store(true, Ordering::SeqCst);
    assert_eq!(rig.create("c").await, NEW, "which jobs exist cannot be said either");
    rig.pass(1_000);
    assert_eq!(rig.create("d").await, NEW, "what was counted before is too old to refuse on");
}

#[tokio::test]
async fn nobody_waits_long_for_a_count() {
    let rig = Rig::with_permits(1, 0);
    let mut creates: Vec<_> = ["a", "b"].map(|id| rig.create(id).boxed()).into();
    for create in &mut creates {
        assert!(create.now_or_never().is_none());
    }
    rig.pass(1_000);
    assert_eq!(join_all(creates).await, [NEW, NEW]);
    assert_eq!(rig.store.counts(), 1);
}
