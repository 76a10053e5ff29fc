//! A Java worker, as far as its messages show: written byte by byte from the messaging contract, never through our own
//! serialiser.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod strict;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer};

use crate::broker::{Broker, within};

/// Connected as the framework is: one connection, a channel in confirm mode, quorum queues.
pub struct JavaWorker {
    channel: Channel,
    _connection: Connection,
}

impl JavaWorker {
    pub async fn start(broker: &Broker) -> Self {
        let connection = broker.bare().await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    pub async fn declare(&self, queue: &str) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
    }

    pub async fn consume(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions::default();
        self.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap()
    }

    /// Neither mandatory nor with a message id: the framework knows neither.
    pub async fn publish(&self, queue: &str, body: &[u8]) {
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_delivery_mode(2)
            .with_headers(FieldTable::default());
        let options = BasicPublishOptions::default();
        let publishing = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
        let confirmation = within("a publish", async { publishing.await?.await }).await.unwrap();
        assert!(confirmation.is_ack());
    }
}

/// The next message, acked.
pub async fn receive(consumer: &mut Consumer) -> lapin::message::Delivery {
    let delivery = within("a message", consumer.next()).await.unwrap().unwrap();
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    delivery
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Messaging contract §4.1: a message with a payload of the tracking worker.
pub fn tracking_message(task_id: &str, classifier: &str, queue: &str, payload: &str) -> String {
    let data = base64(payload);
    format!(
        r#"{{"version":3,"taskId":"{task_id}","taskClassifier":"{classifier}","taskApiVersion":1,"taskData":"{data}","taskStatus":"NEW_TASK","context":{{}},"to":"{queue}","tracking":null,"sourceInfo":null,"priority":null,"correlationId":null}}"#
    )
}

/// A message of reports.
pub fn report_message(task_id: &str, queue: &str, entries: &[String]) -> String {
    let payload = format!(r#"{{"trackingReports":[{}]}}"#, entries.join(","));
    tracking_message(task_id, "TrackingReportTask", queue, &payload)
}

pub fn entry(task: &str, status: &str) -> String {
    format!(r#"{{"jobTaskId":"{task}","status":"{status}","estimatedPercentageCompleted":0}}"#)
}
