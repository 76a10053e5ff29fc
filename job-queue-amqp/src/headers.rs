//! Between the engine's headers, which are text, and AMQP's, which have types.

use job_core::message::HEADER_DELIVERY_COUNT;
use job_core::queue::Headers;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// The longest text AMQP allows for names.
pub(crate) const NAME_BYTES_MAX: usize = 255;

const CONTENT_TYPE: &str = "text/plain";
const PERSISTENT: u8 = 2;

/// The properties of a message to be published; an error says which header cannot be sent.
///
/// An id that is longer than AMQP allows is left out: only the engine's own ids are ever looked at.
pub(crate) fn properties(headers: &Headers, message_id: Option<&str>) -> Result<BasicProperties, String> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        // The broker's own count, of another queue: it would look like this message's past.
        if name == HEADER_DELIVERY_COUNT {
            continue;
        }
        let key = ShortString::try_new(name.as_str()).map_err(|_| {
            format!("the name of a header has {} bytes: at most {NAME_BYTES_MAX} can be sent", name.len())
        })?;
        table.insert(key, AMQPValue::LongString(value.as_str().into()));
    }
    let properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(table);
    Ok(match sent_id(message_id) {
        Some(id) => properties.with_message_id(id),
        None => properties,
    })
}

/// The id as it is sent.
pub(crate) fn sent_id(message_id: Option<&str>) -> Option<ShortString> {
    message_id.and_then(|id| ShortString::try_new(id).ok())
}

/// The headers of a message that arrived, without those that are neither text nor a number nor a truth value.
pub(crate) fn headers(properties: &BasicProperties) -> Headers {
    let Some(table) = properties.headers() else { return Headers::new() };
    table.inner().iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect()
}

/// How often the message was delivered before. Quorum queues count; a count on a message that is not flagged as
/// redelivered was copied from another queue.
pub(crate) fn redeliveries(redelivered: bool, headers: &Headers) -> u32 {
    if !redelivered {
        return 0;
    }
    headers.get(HEADER_DELIVERY_COUNT).and_then(|count| count.parse().ok()).unwrap_or(1).max(1)
}

fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<const N: usize>(pairs: [(&str, &str); N]) -> Headers {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_message_looks_as_java_workers_send_it() {
        let sent = of([("x-caf-worker-retry", "3"), ("x-delivery-count", "7")]);
        let properties = properties(&sent, Some("id")).unwrap();
        assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("text/plain"));
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("id"));
        assert_eq!(properties.priority(), &None);
        let table = properties.headers().as_ref().unwrap();
        assert_eq!(table.inner().len(), 1);
        assert!(matches!(table.inner()["x-caf-worker-retry"], AMQPValue::LongString(_)));
        assert_eq!(headers(&properties), of([("x-caf-worker-retry", "3")]));
    }

    #[test]
    fn what_amqp_has_no_room_for_is_left_out_or_refused() {
        let long = "n".repeat(256);
        let error = properties(&of([(long.as_str(), "v")]), None).unwrap_err();
        assert!(error.contains("256"), "{error}");
        assert_eq!(properties(&Headers::new(), Some(&long)).unwrap().message_id(), &None);
    }

    #[test]
    fn numbers_and_truth_values_become_text() {
        let mut table = FieldTable::default();
        table.insert("a".into(), AMQPValue::LongLongInt(-5));
        table.insert("b".into(), AMQPValue::Boolean(true));
        table.insert("c".into(), AMQPValue::Void);
        table.insert("d".into(), AMQPValue::LongString(vec![b'x', 0xff].into()));
        table.insert("e".into(), AMQPValue::Timestamp(9));
        table.insert("f".into(), AMQPValue::FieldTable(FieldTable::default()));
        let properties = BasicProperties::default().with_headers(table);
        assert_eq!(headers(&properties), of([("a", "-5"), ("b", "true"), ("d", "x\u{fffd}"), ("e", "9")]));
        assert_eq!(headers(&BasicProperties::default()), Headers::new());
    }

    #[test]
    fn redeliveries_are_counted_where_the_queue_counts() {
        let count = |text| of([("x-delivery-count", text)]);
        assert_eq!(redeliveries(false, &count("4")), 0);
        assert_eq!(redeliveries(true, &count("4")), 4);
        assert_eq!(redeliveries(true, &count("0")), 1);
        assert_eq!(redeliveries(true, &count("many")), 1);
        assert_eq!(redeliveries(true, &Headers::new()), 1);
    }
}
