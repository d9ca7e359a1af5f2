//! The object store over files: whole or absent, and nothing left behind.

use object_store::{ObjectStoreExt as _, PutMode};

use super::*;

fn store() -> (tempfile::TempDir, Arc<dyn ObjectStore>) {
    let folder = tempfile::tempdir().unwrap();
    let place = crate::Place::on_disk(folder.path().to_str().unwrap()).unwrap();
    (folder, Arc::new(place.rooted()))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_created_once() {
    let (folder, store) = store();
    let place = Location::from("a/b");
    let create = || store.put_opts(&place, "one".into(), PutMode::Create.into());
    create().await.unwrap();
    assert!(matches!(create().await, Err(object_store::Error::AlreadyExists { .. })));
    store.put(&place, "two".into()).await.unwrap();
    assert_eq!(store.get(&place).await.unwrap().bytes().await.unwrap(), "two");
    assert_eq!(names(&folder.path().join("a")), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_appears_when_it_is_complete_and_vanishes_when_dropped() {
    let (folder, store) = store();
    let place = Location::from("whole");
    let mut upload = store.put_multipart(&place).await.unwrap();
    let first = upload.put_part("thal".into());
    let second = upload.put_part("weg".into());
    second.await.unwrap();
    first.await.unwrap();
    assert!(names(folder.path()).iter().all(|name| is_staged(name)));
    upload.complete().await.unwrap();
    assert_eq!(store.get(&place).await.unwrap().bytes().await.unwrap(), "thalweg");

    let mut dropped = store.put_multipart(&Location::from("gone")).await.unwrap();
    dropped.put_part("x".into()).await.unwrap();
    drop(dropped);
    assert_eq!(names(folder.path()), ["whole"]);
}

#[test]
fn what_was_on_its_way_is_told_by_its_name() {
    for staged in [".part.5f2.staged", ".00000000000000000007.json.tmp.1", ".a.parquet.tmp.12"] {
        assert!(is_staged(staged), "{staged}");
    }
    for other in ["part.staged", "a.tmp.1", ".a.tmp", ".a.tmp.x", ".00000000000000000007.json.crc"]
    {
        assert!(!is_staged(other), "{other}");
    }
}

#[test]
fn a_place_that_cannot_be_is_named() {
    for (location, kind) in [
        ("s3://bucket/table", thalweg_core::ErrorKind::Invalid),
        ("relative/table", thalweg_core::ErrorKind::Invalid),
        ("/dev/null/table", thalweg_core::ErrorKind::Unavailable),
    ] {
        let error = folder(location).err().unwrap();
        assert_eq!(error.kind, kind, "{location}");
        assert!(error.message.contains(location), "{}", error.message);
    }
}
