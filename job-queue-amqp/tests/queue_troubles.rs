//! Troubles of single queues: missing, deleted, full, of another kind. On the shared broker; none of them may touch the
//! queue next to it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::time::Duration;

use futures::StreamExt as _;
use job_core::queue::{ConsumeOptions, Publication, PublishOutcome, TaskQueue};
use job_core::{Clock as _, ClockExt as _, ErrorKind, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue, QueueType};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

use broker::{Names, next, publish_one, put, take, text, until, within};

/// An operator with the driver alone, and names.
struct Operator {
    names: Names,
    options: AmqpOptions,
    channel: Channel,
    _connection: Connection,
}

impl Operator {
    async fn start() -> Self {
        let url = broker::shared_url().await;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        Self {
            names: Names::new(&url),
            options: AmqpOptions::from_uri(&url).unwrap(),
            channel: connection.create_channel().await.unwrap(),
            _connection: connection,
        }
    }

    async fn connect(&self) -> AmqpQueue {
        AmqpQueue::connect(self.options.clone()).await.unwrap()
    }

    async fn declare<const N: usize>(&self, name: &str, arguments: [(&str, AMQPValue); N]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(name.into(), value);
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), durable, table).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }
}

fn text_value(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn numbered(queue: &str, count: usize) -> impl Iterator<Item = Publication> {
    (0..count).map(move |number| Publication::new(queue, number.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_the_one_next_to_it_takes_all() {
    const ROOM: i32 = 5;
    let operator = Operator::start().await;
    let (full, healthy) = (operator.names.name("full"), operator.names.name("healthy"));
    let limits = [("x-max-length", AMQPValue::LongInt(ROOM)), ("x-overflow", text_value("reject-publish"))];
    operator.declare(&full, limits).await;
    let queue = operator.connect().await;

    let messages: Vec<Publication> =
        numbered(&full, 100).zip(numbered(&healthy, 100)).flat_map(|(one, other)| [one, other]).collect();
    let outcomes = within("a publish", queue.publish(messages.clone())).await.unwrap();
    let (mut taken, mut refused) = (0, 0);
    for (message, outcome) in messages.iter().zip(outcomes) {
        match outcome {
            PublishOutcome::Confirmed if message.queue == full => taken += 1,
            PublishOutcome::Refused { reason } if message.queue == full => {
                assert!(reason.contains("full"), "{reason}");
                refused += 1;
            }
            outcome => assert_eq!(outcome, PublishOutcome::Confirmed, "{}", message.queue),
        }
    }
    // The limit may be overshot a little.
    assert!(taken >= ROOM && refused >= 50, "{taken} {refused}");
    assert_eq!(queue.depth(&healthy).await.unwrap(), Some(100));

    let mut consumer = queue.consume(&full, ConsumeOptions { prefetch: 100 }).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    until("room", async || publish_one(&queue, &full, "again").await == PublishOutcome::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_of_another_kind_are_used_as_they_are() {
    let operator = Operator::start().await;
    let kinds = ["classic", "quorum", "limited", "plain", "new"].map(|kind| operator.names.name(kind));
    let [classic, quorum, limited, plain, _] = &kinds;
    operator.declare(classic, [("x-queue-type", text_value("classic"))]).await;
    operator.declare(quorum, [("x-queue-type", text_value("quorum"))]).await;
    operator
        .declare(
            limited,
            [("x-max-length", AMQPValue::LongInt(1_000)), ("x-max-priority", AMQPValue::LongInt(3))],
        )
        .await;
    operator.declare(plain, []).await;

    for queue_type in [QueueType::Quorum, QueueType::Classic] {
        let options = operator.options.clone().with_queue_type(queue_type).with_max_priority(7);
        let queue = AmqpQueue::connect(options).await.unwrap();
        let messages: Vec<Publication> = kinds.iter().flat_map(|name| numbered(name, 3)).collect();
        let outcomes = within("a publish", queue.publish(messages)).await.unwrap();
        assert_eq!(outcomes, [const { PublishOutcome::Confirmed }; 15]);
        for name in &kinds {
            queue.declare(name).await.unwrap();
            let mut consumer = queue.consume(name, ConsumeOptions { prefetch: 3 }).await.unwrap();
            for delivery in take(&mut consumer, 3).await {
                delivery.ack().await.unwrap();
            }
        }
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_declared_again_by_whoever_publishes() {
    let operator = Operator::start().await;
    let (gone, other) = (operator.names.name("gone"), operator.names.name("other"));
    let queue = operator.connect().await;
    for _ in 0..5 {
        let messages = numbered(&gone, 20).chain(numbered(&other, 20)).collect();
        let outcomes = within("a publish", queue.publish(messages)).await.unwrap();
        assert_eq!(outcomes, [const { PublishOutcome::Confirmed }; 40]);
        assert_eq!(queue.depth(&gone).await.unwrap(), Some(20));
        operator.delete(&gone).await;
    }
    assert_eq!(queue.depth(&other).await.unwrap(), Some(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_declared_again_by_its_consumer() {
    let operator = Operator::start().await;
    let name = operator.names.name("");
    let queue = operator.connect().await;
    let mut consumer = queue.consume(&name, ConsumeOptions { prefetch: 10 }).await.unwrap();
    put(&queue, &name, "before").await;
    let held = next(&mut consumer).await;
    for round in 0..5 {
        operator.delete(&name).await;
        until("the consumer's declaration", async || queue.depth(&name).await.unwrap().is_some()).await;
        // RabbitMQ deletes a quorum queue in the background, and refuses messages to its successor meanwhile.
        let publish = async || publish_one(&queue, &name, round.to_string()).await;
        until("a publish", async || publish().await == PublishOutcome::Confirmed).await;
        loop {
            let delivery = next(&mut consumer).await;
            let is_this_round = text(&delivery) == round.to_string();
            // A delivery of a queue that was deleted since cannot be settled.
            let _ = delivery.ack().await;
            if is_this_round {
                break;
            }
        }
    }
    assert_eq!(held.ack().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// When a queue is declared again before its deletion is done, RabbitMQ takes the old consumer for one of the new queue's, does
/// not tell it of the deletion, and delivers messages that do not arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_the_broker_has_forgotten_begins_anew() {
    const GLANCE: Duration = Duration::from_millis(200);
    let operator = Operator::start().await;
    let name = operator.names.name("");
    let queue = operator.connect().await;
    let impatient = operator.options.clone().with_idle_limit(Duration::from_millis(500));
    let consuming = AmqpQueue::connect(impatient).await.unwrap();
    let mut consumer = consuming.consume(&name, ConsumeOptions { prefetch: 10 }).await.unwrap();
    let clock = SystemClock::new();
    let at_once = QueueDeleteOptions { nowait: true, ..QueueDeleteOptions::default() };
    for round in 0..10 {
        operator.channel.queue_delete((&*name).into(), at_once).await.unwrap();
        let begin = clock.now();
        loop {
            // One that is confirmed may go with the queue that is being deleted.
            let _ = publish_one(&queue, &name, round.to_string()).await;
            if let Ok(Some(delivery)) = clock.timeout(GLANCE, consumer.next()).await {
                let is_this_round = text(&delivery) == round.to_string();
                let _ = delivery.ack().await;
                if is_this_round {
                    break;
                }
            }
            assert!(clock.now().since(begin) < broker::DEADLINE, "round {round}: nothing arrives");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_returned_is_told_apart_by_what_it_is() {
    let operator = Operator::start().await;
    let queue = AmqpQueue::connect(operator.options.clone().with_declare_on_publish(false)).await.unwrap();
    let (there, missing) = (operator.names.name("there"), operator.names.name("missing"));
    operator.declare(&there, []).await;
    for round in 0..20 {
        let name = |index: usize| if (index * 7 + round).is_multiple_of(3) { &missing } else { &there };
        // Bodies repeat, and ids too.
        let message = |index: usize| Publication {
            message_id: (!index.is_multiple_of(4)).then(|| format!("id-{}", index % 4)),
            ..Publication::new(name(index), (index % 5).to_string())
        };
        let outcomes = within("a publish", queue.publish((0..500).map(message).collect())).await.unwrap();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let expected =
                if *name(index) == there { PublishOutcome::Confirmed } else { PublishOutcome::Unroutable };
            assert_eq!(outcome, expected, "{index}");
        }
    }
    assert_eq!(queue.depth(&missing).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_cannot_be_are_refused_one_by_one() {
    let operator = Operator::start().await;
    let queue = operator.connect().await;
    let good = operator.names.name("good");
    let long = "x".repeat(256);
    let names = [good.as_str(), "", &long, "amq.reserved", good.as_str()];
    let messages = names.iter().map(|name| Publication::new(*name, "{}")).collect();
    let outcomes = within("a publish", queue.publish(messages)).await.unwrap();
    for (name, outcome) in names.iter().zip(outcomes) {
        let is_good = *name == good;
        assert_eq!(outcome == PublishOutcome::Confirmed, is_good, "{name:?} {outcome:?}");
    }
    for name in ["", &long, "amq.reserved"] {
        let error = queue.declare(name).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Invalid, false), "{name:?} {error:?}");
        let consuming = queue.consume(name, ConsumeOptions { prefetch: 1 }).await;
        assert!(!consuming.unwrap_err().is_transient(), "{name:?}");
    }
    let error = queue.consume(&good, ConsumeOptions { prefetch: 0 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_cannot_be_sent_are_refused_one_by_one() {
    let operator = Operator::start().await;
    let queue = operator.connect().await;
    let name = operator.names.name("");
    let mut wrong = Publication::new(&name, "wrong");
    wrong.headers.insert("n".repeat(256), "v".to_owned());
    let mut long_id = Publication::new(&name, "long id");
    long_id.message_id = Some("i".repeat(300));
    let outcomes =
        within("a publish", queue.publish(vec![Publication::new(&name, "a"), wrong, long_id])).await.unwrap();
    assert!(
        matches!(&outcomes[1], PublishOutcome::Refused { reason } if reason.contains("256")),
        "{outcomes:?}"
    );
    assert_eq!((&outcomes[0], &outcomes[2]), (&PublishOutcome::Confirmed, &PublishOutcome::Confirmed));
}

/// Every look costs lapin the number of a channel for good, and there are 2,047.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_for_missing_queues_wears_nothing_out() {
    const LOOKS: usize = 5_000;
    let operator = Operator::start().await;
    let queue = operator.connect().await;
    let (name, missing) = (operator.names.name("there"), operator.names.name("missing"));
    let mut consumer = queue.consume(&name, ConsumeOptions { prefetch: 10 }).await.unwrap();
    put(&queue, &name, "held").await;
    let held = next(&mut consumer).await;
    // A connection whose numbers are used up is replaced; while that goes on, any number of looks may fail.
    let (mut looks, mut outages, mut away) = (0, 0, false);
    while looks < LOOKS {
        match within("a look", queue.depth(&missing)).await {
            Ok(depth) => {
                assert_eq!(depth, None);
                looks += 1;
                away = false;
            }
            Err(error) if error.is_transient() => {
                outages += u32::from(!away);
                away = true;
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(outages <= 5, "{outages} outages in {LOOKS} looks");
    held.ack().await.unwrap();
    put(&queue, &name, "after").await;
    assert_eq!(text(&next(&mut consumer).await), "after");
}
