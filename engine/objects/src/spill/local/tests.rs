use std::io::IoSlice;

use super::*;

fn target() -> (tempfile::TempDir, LocalTarget) {
    let parent = tempfile::tempdir().expect("a folder");
    let target = LocalTarget::new(parent.path()).expect("a target");
    (parent, target)
}

fn files(target: &LocalTarget) -> usize {
    std::fs::read_dir(target.folder.path()).expect("a folder").count()
}

#[test]
fn parts_of_any_alignment_are_read_back_from_anywhere() {
    let (_parent, target) = target();
    let mut aligned = Buffer::take(BUFFER_BYTES);
    aligned.as_mut_slice().iter_mut().enumerate().for_each(|(n, byte)| *byte = (n / 5) as u8);
    let aligned = &aligned.as_slice()[..3 * ALIGN_BYTES];
    let odd: Vec<u8> = (0..9 << 20).map(|n: u32| (n / 11) as u8).collect();
    let parts = [&odd[..1], &odd[1..ALIGN_BYTES], aligned, &odd, aligned, &odd[..777]];
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let whole = parts.concat();
    for bytes in [None, Some(whole.len() as u64)] {
        let mut writer = target.create("0", bytes).expect("a file");
        for slices in slices.chunks(4) {
            writer.append(slices).expect("written");
        }
        writer.finish().expect("finished");
        for (offset, length) in [(0, whole.len()), (1, 10), (4095, 2), (5000, 3 << 20), (4096, 8192)] {
            let mut buffer = vec![0; length];
            target.read("0", offset as u64, &mut buffer).expect("read");
            assert!(buffer == whole[offset..offset + length], "{offset} {length}");
        }
        let error = target.read("0", whole.len() as u64 - 4096, &mut vec![0; 9000]).expect_err("too far");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        target.delete("0").expect("deleted");
        target.delete("0").expect("deleted already");
        assert_eq!(files(&target), 0);
    }
}

#[test]
fn more_than_the_disk_has_is_refused_before_a_byte_is_written() {
    let (_parent, target) = target();
    let free = target.free_bytes().expect("asked").expect("bounded");
    let error = target.create("0", Some(free * 2)).err().expect("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(files(&target), 0);
}

#[test]
fn a_deleted_file_is_not_kept_open_and_few_are() {
    let (_parent, target) = target();
    for name in 0..OPEN_FILES_MAX + 5 {
        let name = name.to_string();
        let mut writer = target.create(&name, None).expect("a file");
        writer.append(&[IoSlice::new(name.as_bytes())]).expect("written");
        writer.finish().expect("finished");
        let mut buffer = vec![0; name.len()];
        target.read(&name, 0, &mut buffer).expect("read");
        assert_eq!(buffer, name.as_bytes());
    }
    assert_eq!(target.readers.lock().len(), OPEN_FILES_MAX);
    target.read("7", 0, &mut [0]).expect("read");
    target.delete("7").expect("deleted");
    assert!(target.readers.lock().iter().all(|reader| reader.name != "7"));
    assert_eq!(target.read("7", 0, &mut [0]).expect_err("deleted").kind(), io::ErrorKind::NotFound);
}
