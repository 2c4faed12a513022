//! Bytes that nobody meant: an error or a packet, never a panic.

use bytes::Bytes;
use prost::Message as _;

use super::{from_wire, packet_of, samples, to_wire};
use crate::v1;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// Whether it is a packet. One that is can be sent on, and reads as itself.
fn is_packet(bytes: Vec<u8>) -> bool {
    let Ok(wire) = v1::Packet::decode(Bytes::from(bytes)) else { return false };
    match from_wire(wire) {
        Ok(packet) => {
            let again = from_wire(to_wire(&packet)).unwrap();
            assert_eq!(format!("{again:?}"), format!("{packet:?}"));
            true
        }
        Err(error) => {
            assert!(!error.message().is_empty());
            false
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.byte()),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ if !bytes.is_empty() => bytes[at] = random.byte(),
            _ => {}
        }
    }
}

#[test]
fn mutated_packets() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut packets, mut refused) = (0, 0);
    for message in samples::all_messages() {
        let whole = to_wire(&packet_of(vec![message])).encode_to_vec();
        for _ in 0..200 {
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut random);
            *(if is_packet(bytes) { &mut packets } else { &mut refused }) += 1;
        }
    }
    // Else the mutations are too small or too large to find anything.
    assert!(packets > 500 && refused > 500, "{packets} {refused}");
}

#[test]
fn random_bytes() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..3_000 {
        let length = random.below(200);
        is_packet((0..length).map(|_| random.byte()).collect());
    }
}

/// A field that is taken out or that stands where another belongs: lengths stay right all the way.
#[test]
fn mutated_messages() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for message in samples::all_messages() {
        let whole = to_wire(&packet_of(vec![message]));
        let inner = whole.messages[0].encode_to_vec();
        for _ in 0..100 {
            let mut bytes = inner.clone();
            mutate(&mut bytes, &mut random);
            let Ok(message) = v1::PeerMessage::decode(Bytes::from(bytes)) else { continue };
            is_packet(v1::Packet { messages: vec![message], ..whole.clone() }.encode_to_vec());
        }
    }
}
