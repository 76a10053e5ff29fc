//! AMQP 0-9-1, as far as it says what is published, confirmed and acked.

use super::{Conversation, Fate, Moment, Way};

const METHOD: u8 = 1;
const BODY: u8 = 3;
/// Class and method of `basic.ack`: the server's for deliveries, the broker's for publications.
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
const PROTOCOL_HEADER: &[u8] = b"AMQP";

#[derive(Debug)]
pub(super) struct Amqp;

impl Conversation for Amqp {
    fn frame(&self, way: Way, bytes: &[u8]) -> Option<usize> {
        if way == Way::FromServer && bytes.starts_with(PROTOCOL_HEADER) {
            return (bytes.len() >= 8).then_some(8);
        }
        // Type, channel, size, payload, end.
        let size = u32::from_be_bytes(bytes.get(3..7)?.try_into().ok()?) as usize;
        (bytes.len() >= size + 8).then_some(size + 8)
    }

    fn note(&mut self, way: Way, frame: &[u8], moment: Moment) -> Fate {
        let is_ack = frame[0] == METHOD && frame.get(7..11) == Some(&BASIC_ACK[..]);
        match (moment, way) {
            (Moment::Published, Way::FromServer) if frame[0] == BODY => Fate::KillAfter,
            (Moment::Confirmed, Way::ToServer) if is_ack => Fate::KillBefore,
            (Moment::AsksToAck, Way::FromServer) if is_ack => Fate::KillBefore,
            (Moment::Acked, Way::FromServer) if is_ack => Fate::KillAfter,
            _ => Fate::Pass,
        }
    }
}
