//! Damaged bytes are refused.
use super::*;

#[test]
fn a_stream_that_ends_early_or_late_is_refused() {
    let bytes = encoded(&Table::new(every_kind(1).schema(), vec![every_kind(9), every_kind(4)]).unwrap());
    for length in 0..bytes.len() {
        let error = decoded::<Table>(bytes[..length].to_vec()).unwrap_err();
        assert!(error.contains("end before the stream does"), "{length}: {error}");
    }
    let mut late = bytes;
    late.push(0);
    assert!(decoded::<Table>(late).unwrap_err().contains("1 bytes are left over"));
}

/// Damaged bytes are refused or give another table, whose values can be looked at: no panic. Every byte and
/// every word is changed in several ways, and then many at once.
#[test]
fn damage_never_panics() {
    let table = encoded(&Table::new(every_kind(1).schema(), vec![every_kind(9), every_kind(4)]).unwrap());
    let tensor = encoded(&Tensor::new([2, 3, 4], vec![1.5f32; 24]).unwrap());
    let look = |bytes: &[u8]| {
        if let Ok(table) = decoded::<Table>(bytes.to_vec()) {
            for column in table.batches().iter().flat_map(|batch| batch.columns()) {
                column.to_data().validate_full().unwrap();
            }
        }
        if let Ok(tensor) = decoded::<Tensor<f32>>(bytes.to_vec()) {
            assert_eq!(tensor.shape().iter().product::<usize>(), tensor.values().len());
        }
    };
    let mut random = 1u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    // A panic says which bytes it was.
    let look = |bytes: &[u8]| {
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(bytes)));
        looked.unwrap_or_else(|_| panic!("{}", bytes.escape_ascii()));
    };
    for bytes in [table, tensor] {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff, bytes[at]] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                look(&damaged);
            }
        }
        for at in (0..bytes.len()).step_by(4) {
            for word in [0, 1, 7, i32::MAX, i32::MIN, -1] {
                let mut damaged = bytes.clone();
                damaged[at..at + 4].copy_from_slice(&word.to_le_bytes());
                look(&damaged);
            }
        }
        for _ in 0..3000 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + next(8) {
                let at = next(bytes.len());
                damaged[at] = next(256) as u8;
            }
            look(&damaged);
        }
    }
}
