use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::files::listed;

fn entry(method: &str, tenant: Option<&str>) -> Entry {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        method: method.to_owned(),
        verb: Some("submit".to_owned()),
        outcome: OK.to_owned(),
        who: if tenant.is_some() { Who::Token } else { Who::Operator },
        certificate: None,
        token_id: None,
        tenant: tenant.map(str::to_owned),
        namespace: None,
        from: "uid=0 pid=1".to_owned(),
        on: BTreeMap::from([("job_id".to_owned(), "job-1".to_owned())]),
    }
}

fn text(folder: &Path) -> String {
    listed(folder).unwrap().iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect()
}

async fn all(log: &AuditLog, query: &Query) -> Vec<Line> {
    let (mut query, mut lines) = (query.clone(), Vec::new());
    loop {
        let page = log.read(query.clone()).await.unwrap();
        lines.extend(page.lines.iter().map(|line| serde_json::from_str::<Line>(line).unwrap()));
        query.from = page.next;
        if page.is_end {
            return lines;
        }
    }
}

/// A log of so many lines, closed.
async fn kept(folder: &Path, limits: Limits, count: usize) {
    let log = AuditLog::open(folder, limits).unwrap();
    for number in 0..count {
        log.note(entry(&format!("Jobs.Submit{number}"), Some("red"))).await.unwrap();
    }
    log.close().await;
}

#[tokio::test]
async fn lines_are_kept_chained_and_private_across_starts() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    for _ in 0..3 {
        kept(&folder, Limits::default(), 10).await;
    }
    let verified = verify(&folder, None).unwrap();
    assert_eq!((verified.files, verified.first, verified.last), (1, 1, 30));
    assert!(verify(&folder, Some(&verified.hash)).unwrap().has_known);
    assert!(!verify(&folder, Some("00")).unwrap().has_known);
    let first: serde_json::Value = serde_json::from_str(text(&folder).lines().next().unwrap()).unwrap();
    assert_eq!(first["time"], "2023-11-14T22:13:20.123Z");
    assert_eq!((&first["method"], &first["who"]), (&"Jobs.Submit0".into(), &"token".into()));
    assert_eq!((&first["previous"], &first["on"]["job_id"]), (&"".into(), &"job-1".into()));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&listed(&folder).unwrap()[0].1)), (0o700, 0o600));
}

#[tokio::test]
async fn what_is_changed_removed_or_put_in_is_seen() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    kept(&folder, Limits::default(), 5).await;
    let path = listed(&folder).unwrap()[0].1.clone();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let with = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let changed = whole.replacen("Jobs.Submit2", "Jobs.Delete", 1);
    let renumbered = with(&[lines[0], lines[1], &lines[3].replace("\"number\":4", "\"number\":3"), lines[4]]);
    for (bad, what) in [
        (changed, "line 3 is not the one that was written"),
        (with(&[lines[0], lines[1], lines[3], lines[4]]), "line 4 stands after line 2"),
        (renumbered, "line 2 is not the one"),
        (with(&lines[1..]), "begins with 2"),
        (with(&[lines[0], lines[0]]), "line 1 stands after line 1"),
        (whole[..whole.len() - 3].to_owned(), "not whole"),
        ("{}\n".to_owned(), "no line that an engine writes"),
    ] {
        fs::write(&path, bad).unwrap();
        let error = verify(&folder, None).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
    // What is cut off at the end is seen by who knows the last line.
    fs::write(&path, &whole).unwrap();
    let known = verify(&folder, None).unwrap().hash;
    fs::write(&path, with(&lines[..4])).unwrap();
    assert!(!verify(&folder, Some(&known)).unwrap().has_known);
    fs::remove_file(&path).unwrap();
    assert!(matches!(verify(&folder, None), Err(AuditError::None(_))));
}

#[tokio::test]
async fn files_are_bounded_and_the_chain_goes_on_from_one_to_the_next() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    let limits = Limits { audit_file_bytes_max: 1_000, audit_files_max: 3 };
    for _ in 0..40 {
        // One at a time, so that no batch is larger than a file.
        kept(&folder, limits, 1).await;
    }
    let files = listed(&folder).unwrap();
    assert_eq!(files.len(), 3);
    for (_, path) in &files {
        assert!(fs::metadata(path).unwrap().len() <= 1_000, "{}", path.display());
    }
    let verified = verify(&folder, None).unwrap();
    assert_eq!(verified.last, 40);
    assert!(verified.first > 1);
    let log = AuditLog::open(&folder, limits).unwrap();
    let numbers: Vec<u64> = all(&log, &Query::default()).await.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (verified.first..=40).collect::<Vec<_>>());
    assert!(all(&log, &Query { from: 41, ..Query::default() }).await.is_empty());
    // A file in the middle that is gone is missed.
    fs::remove_file(&files[1].1).unwrap();
    assert!(verify(&folder, None).unwrap_err().to_string().contains("stands after"));
}

#[tokio::test]
async fn lines_are_found_by_number_time_tenant_and_namespace() {
    let temp = tempfile::tempdir().unwrap();
    let log = AuditLog::open(&temp.path().join("audit"), Limits::default()).unwrap();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let bound = Entry { namespace: Some("n".to_owned()), time: later, ..entry("A.C", Some("red")) };
    for entry in [entry("A.A", None), entry("A.B", Some("red")), bound, entry("A.D", Some("blue"))] {
        log.note(entry).await.unwrap();
    }
    let folder = log.folder().to_owned();
    log.close().await;
    drop(log);
    let log = AuditLog::open(&folder, Limits::default()).unwrap();
    let methods = async |query: Query| -> Vec<String> {
        all(&log, &query).await.into_iter().map(|line| line.entry.method).collect()
    };
    assert_eq!(methods(Query::default()).await, ["A.A", "A.B", "A.C", "A.D"]);
    assert_eq!(methods(Query { from: 3, ..Query::default() }).await, ["A.C", "A.D"]);
    assert_eq!(methods(Query { since: Some(later), ..Query::default() }).await, ["A.C"]);
    let red = Query { tenant: Some("red".to_owned()), ..Query::default() };
    assert_eq!(methods(red.clone()).await, ["A.B", "A.C"]);
    assert_eq!(methods(Query { namespace: Some("n".to_owned()), ..red }).await, ["A.C"]);
}

#[tokio::test]
async fn more_than_one_answer_has_is_read_in_pages() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    let limits = Limits { audit_file_bytes_max: 128 << 10, audit_files_max: 100 };
    kept(&folder, limits, 5_000).await;
    assert!(listed(&folder).unwrap().len() > 1);
    let log = AuditLog::open(&folder, limits).unwrap();
    let page = log.read(Query::default()).await.unwrap();
    assert!(page.lines.len() <= limits::AUDIT_READ_LINES_MAX && !page.is_end);
    assert_eq!(all(&log, &Query::default()).await.len(), 5_000);
    let none = Query { tenant: Some("nobody".to_owned()), ..Query::default() };
    assert!(all(&log, &none).await.is_empty());
}

#[tokio::test]
async fn half_a_line_of_an_engine_that_was_killed_goes_and_damage_is_not_written_over() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    kept(&folder, Limits::default(), 2).await;
    let path = listed(&folder).unwrap()[0].1.clone();
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"number\":3,\"ti")).unwrap();
    kept(&folder, Limits::default(), 1).await;
    assert_eq!(verify(&folder, None).unwrap().last, 3);
    fs::write(&path, format!("{whole}nonsense\n")).unwrap();
    let error = AuditLog::open(&folder, Limits::default()).unwrap_err();
    assert!(matches!(error, AuditError::Line { line: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_folder_is_of_one_engine_and_of_nobody_else() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    let log = AuditLog::open(&folder, Limits::default()).unwrap();
    assert!(matches!(AuditLog::open(&folder, Limits::default()), Err(AuditError::Locked(_))));
    log.close().await;
    drop(log);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let error = AuditLog::open(&folder, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("mode 755") && error.contains("chmod 700"), "{error}");
}

/// A folder that is gone stands for a disk that refuses: its files cannot be made.
#[tokio::test]
async fn what_cannot_be_written_waits_and_is_written_once_it_can() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, away) = (temp.path().join("audit"), temp.path().join("away"));
    let log = AuditLog::open(&folder, Limits::default()).unwrap();
    log.check().unwrap();
    fs::rename(&folder, &away).unwrap();
    for _ in 0..3 {
        log.note(entry("A.B", None)).await.unwrap();
    }
    while log.check().is_ok() {
        tokio::task::yield_now().await;
    }
    let broken = log.check().unwrap_err().to_string();
    assert!(broken.contains("cannot make") && broken.contains("make room"), "{broken}");
    fs::rename(&away, &folder).unwrap();
    while log.check().is_err() {
        tokio::task::yield_now().await;
    }
    log.close().await;
    assert_eq!(verify(&folder, None).unwrap().last, 3);
    assert!(log.check().is_err() && log.note(entry("A.B", None)).await.is_err(), "it is closed");
}

#[tokio::test]
async fn a_long_value_is_cut() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("audit");
    let log = AuditLog::open(&folder, Limits::default()).unwrap();
    log.note(entry(&"é\n".repeat(10_000), None)).await.unwrap();
    log.close().await;
    assert!(text(&folder).len() < 2_000);
    assert_eq!(verify(&folder, None).unwrap().last, 1);
}
