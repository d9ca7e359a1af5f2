//! The folder as a store: what is listed comes in order, and a store that is silent holds nobody up.

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStoreExt as _, PutMode};

use super::*;

/// The folder `lake/t` of a store, of little patience.
fn rooted(store: Arc<dyn ObjectStore>) -> Rooted {
    let patience = Duration::from_millis(20);
    Rooted::new(store, Path::from("lake/t"), "memory:/lake/t", patience)
}

#[tokio::test]
async fn it_is_its_folder_and_no_more() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let folder = rooted(memory.clone());
    folder.put(&Path::from("log/b"), "b".into()).await.unwrap();
    folder.put(&Path::from("log/a"), "a".into()).await.unwrap();
    memory.put(&Path::from("lake/t2/log/a"), "other".into()).await.unwrap();
    let listed = |objects: Vec<ObjectMeta>| -> Vec<String> {
        objects.iter().map(|object| object.location.to_string()).collect()
    };
    let all: Vec<ObjectMeta> = folder.list(None).try_collect().await.unwrap();
    assert_eq!(all.len(), 2);
    let later = folder.list_with_offset(Some(&Path::from("log")), &Path::from("log/0"));
    assert_eq!(listed(later.try_collect().await.unwrap()), ["log/a", "log/b"]);
    let again = folder.put_opts(&Path::from("log/a"), "x".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(memory.get(&Path::from("lake/t/log/a")).await.unwrap().bytes().await.unwrap(), "a");
}

#[tokio::test]
async fn a_store_that_is_silent_is_unavailable() {
    let never = Duration::from_secs(86_400);
    let config = ThrottleConfig {
        wait_put_per_call: never,
        wait_get_per_call: never,
        wait_list_per_call: never,
        wait_delete_per_call: never,
        ..ThrottleConfig::default()
    };
    let folder = rooted(Arc::new(ThrottledStore::new(InMemory::new(), config)));
    let place = Path::from("a");
    let silent = [
        folder.put(&place, "x".into()).await.map(drop),
        folder.get(&place).await.map(drop),
        folder.delete(&place).await,
        folder.list(None).try_collect::<Vec<_>>().await.map(drop),
        folder.list_with_offset(None, &place).try_collect::<Vec<_>>().await.map(drop),
    ];
    for answer in silent {
        let error = answer.expect_err("nothing came");
        assert!(error.to_string().contains("memory:/lake/t does not answer"), "S25: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_stops_half_way_is_an_error_and_the_end() {
    let first = stream::once(async { Ok::<_, Error>(1) });
    let folder = rooted(Arc::new(InMemory::new()));
    let mut items = folder.wait.each(first.chain(stream::pending()).boxed());
    assert_eq!(items.next().await.unwrap().unwrap(), 1);
    assert!(items.next().await.unwrap().is_err(), "S25");
    assert!(items.next().await.is_none());
}
