//! The line reads flights as they are.

use crate::support::line::{Reader, in_short};

#[test]
fn flights_are_read_however_the_stream_is_cut() {
    let mut stream = b"\0\0\0\x09\0\x03\0\0\0p\0\0\0\x06x\0".to_vec();
    let mut message = |kind: u8, body: &[u8]| {
        stream.push(kind);
        stream.extend((u32::try_from(body.len()).unwrap() + 4).to_be_bytes());
        stream.extend(body);
    };
    message(b'P', b"s1\0COMMIT\0\0\0");
    message(b'B', b"\0s1\0\0\0\0\0\0\0");
    message(b'E', b"\0\0\0\0\0");
    message(b'S', b"");
    message(b'B', b"\0s1\0\0\0\0\0\0\0");
    message(b'E', b"\0\0\0\0\0");
    message(b'S', b"");
    message(b'Q', b"SELECT 1\0");
    for size in 1..=stream.len() {
        let (mut reader, mut flights, mut passed) = (Reader::default(), Vec::new(), Vec::new());
        for chunk in stream.chunks(size) {
            reader.bytes.extend_from_slice(chunk);
            while let Some((bytes, flight)) = reader.next() {
                passed.extend(bytes);
                flights.extend(flight);
            }
        }
        assert_eq!(flights, ["connect", "COMMIT", "COMMIT", "SELECT 1"], "chunks of {size}");
        assert_eq!(passed, stream);
    }
    assert_eq!(in_short("BEGIN X > SELECT 'sesari.context' > COMMIT"), "begin context commit");
}
