use engine_core::transfer::Way;

use super::*;

#[test]
fn what_is_written_is_read() {
    let hello = Hello { version: 7, node: NodeId::from_bits(0x0102_0304, 0xa0b0_c0d0_0000_0000) };
    let mut bytes = Vec::new();
    hello.write(&mut bytes).unwrap();
    assert_eq!(bytes.len(), HELLO_BYTES);
    assert_eq!(bytes[6..10], [4, 3, 2, 1], "little-endian, the high half first");
    assert_eq!(Hello::read(&mut &bytes[..]).unwrap(), hello);
    for welcome in [
        Welcome::Ok,
        Welcome::WrongVersion { oldest: 2, newest: 300 },
        Welcome::AnotherNode,
        Welcome::Busy,
        Welcome::NotANode,
    ] {
        let mut bytes = Vec::new();
        welcome.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), WELCOME_BYTES);
        assert_eq!(Welcome::read(&mut &bytes[..]).unwrap(), welcome);
    }
    let (asker, other) = (NodeId::from_bits(4, 5), NodeId::from_bits(6, 7));
    for way in [Way::First, Way::SentOn, Way::Back(other), Way::Again, Way::Part] {
        let object = ObjectId::from_bits(u64::MAX, 3);
        let request = Request { object, offset: 1 << 40, length: TO_THE_END, asker, way };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), REQUEST_BYTES);
        assert_eq!(Request::read(&mut &bytes[..]).unwrap(), request);
    }
    let header = ChunkHeader::of(b"bytes", 9);
    assert_eq!(Next::read(&mut &header.encode()[..], 5).unwrap(), Next::Chunk(header));
    assert_eq!(Next::read(&mut &chunk_is_coming()[..], 5).unwrap(), Next::StillComing);
    assert_ne!(checksum(b"bytes", 9), checksum(b"bytes", 10));
    assert!(matches!(read_reply(&mut &reply(77)[..]).unwrap(), Reply::Size(77)));
    assert!(matches!(read_reply(&mut &ask(other)[..]).unwrap(), Reply::Ask(node) if node == other));
    assert!(matches!(read_reply(&mut &reply_is_coming()[..]).unwrap(), Reply::StillComing));
    let named = several(9, &[asker, other]);
    assert!(
        matches!(read_reply(&mut &named[..]).unwrap(), Reply::Several(9, nodes) if nodes == [asker, other])
    );
    let named = several(9, &[other; SOURCES_MAX + 1]);
    assert!(
        matches!(read_reply(&mut &named[..]).unwrap(), Reply::Several(9, nodes) if nodes.len() == SOURCES_MAX)
    );
}

#[test]
fn errors_are_bounded_and_keep_their_code() {
    let long = Error::new(ErrorCode::OutOfDisk, "é".repeat(MESSAGE_BYTES_MAX));
    let Reply::Refused(error) = read_reply(&mut &refusal(&long)[..]).unwrap() else { panic!("an error") };
    assert_eq!(error.code(), ErrorCode::OutOfDisk);
    assert_eq!(error.message(), "é".repeat(MESSAGE_BYTES_MAX / 2));
    let bytes = broken_off(&Error::new(ErrorCode::ObjectFreed, "gone"));
    let mut input = &bytes[..];
    assert_eq!(Next::read(&mut input, 10).unwrap(), Next::Error);
    assert_eq!(read_error(&mut input).unwrap().to_string(), "OBJECT_FREED: gone");
    let unknown = [&[3, 1, 0][..], b"NEWx"].concat();
    let error = read_error(&mut &unknown[..]).unwrap();
    assert_eq!(error.code(), ErrorCode::ObjectLost);
    assert!(error.message().contains("NEW"), "{error}");
}

#[test]
fn absurd_lengths_and_garbage_are_refused() {
    let invalid = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    let header = |length: u32| ChunkHeader { length, checksum: 0 }.encode();
    invalid(Next::read(&mut &header(u32::MAX - 1)[..], u64::MAX).unwrap_err());
    invalid(Next::read(&mut &header(CHUNK_BYTES_MAX as u32 + 1)[..], u64::MAX).unwrap_err());
    invalid(Next::read(&mut &header(11)[..], 10).unwrap_err());
    invalid(read_error(&mut &[255; 400][..]).unwrap_err());
    invalid(read_error(&mut &[10, 255, 255][..]).unwrap_err());
    invalid(read_reply(&mut &[9; 100][..]).unwrap_err());
    invalid(read_reply(&mut &[&[4; 9][..], &[SOURCES_MAX as u8 + 1], &[0; 400]].concat()[..]).unwrap_err());
    invalid(Request::read(&mut &[5; REQUEST_BYTES][..]).unwrap_err());
    invalid(Hello::read(&mut &b"GET / HTTP/1.1\r\nHost: x\r\n"[..]).unwrap_err());
    invalid(Welcome::read(&mut &b"HTTP/1.1 400"[..]).unwrap_err());
    invalid(Welcome::read(&mut &[b'E', b'B', b'K', b's', 5, 0, 0, 0, 0][..]).unwrap_err());
}

#[test]
fn no_bytes_at_all_bring_a_decoder_down() {
    let mut state = 1_u64;
    for length in 0..2_000 {
        let bytes: Vec<u8> = (0..length % 97)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8 & if length % 2 == 0 { 3 } else { 255 }
            })
            .collect();
        let _ = Hello::read(&mut &bytes[..]);
        let _ = Welcome::read(&mut &bytes[..]);
        let _ = Request::read(&mut &bytes[..]);
        let _ = read_reply(&mut &bytes[..]);
        let _ = read_error(&mut &bytes[..]);
        let _ = Next::read(&mut &bytes[..], 50);
    }
}

#[test]
fn a_writer_that_takes_little_gets_everything() {
    struct Little(Vec<u8>);
    impl Write for Little {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3);
            self.0.extend(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (first, second) in [("", ""), ("abcd", ""), ("", "efghij"), ("abcdefg", "hijklmnop")] {
        let mut output = Little(Vec::new());
        write_both(&mut output, first.as_bytes(), second.as_bytes()).unwrap();
        assert_eq!(output.0, format!("{first}{second}").as_bytes());
    }
}
