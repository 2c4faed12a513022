use engine_gpu::{BackendKind, DType};

use crate::{all, every};

#[test]
fn the_devices_that_must_be_there_are() {
    let found = all();
    for device in &found {
        println!("{device:?}");
    }
    assert!(found.iter().any(|device| device.description().backend == BackendKind::Reference));
}

#[test]
fn descriptions_say_what_sessions_need() {
    for device in all() {
        let it = device.description();
        assert!(!it.name.is_empty() && !it.vendor.is_empty(), "{it:?}");
        assert!(it.dtypes.contains(&DType::F32) && it.dtypes.contains(&DType::U8), "{it:?}");
        assert!(it.limits.buffer_bytes_max >= 1 << 20, "{it:?}");
        if it.backend != BackendKind::Reference {
            assert!(it.limits.bindings_max >= 4 && it.limits.block_threads_max >= 256, "{it:?}");
            assert!(it.memory_bytes.is_some_and(|bytes| bytes >= 1 << 20), "{it:?}");
        }
    }
}

#[test]
fn devices_that_are_opened_again_and_again_go_on() {
    for _ in 0..3 {
        for session in every() {
            let buffer = session.allocate(DType::U32, 16).expect("there is room");
            session.stream().fill(&buffer, 0, 16, 7_u32).expect("it is a buffer");
            assert_eq!(crate::values_of::<u32>(&session, &buffer), [7; 16]);
        }
    }
}
