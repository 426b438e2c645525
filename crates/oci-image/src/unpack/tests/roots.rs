//! The cache of unpacked images.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::made::{file, image, tree};
use super::{expect, text};
use crate::{Limits, RootCache};

fn open(folder: &std::path::Path) -> crate::Result<RootCache> {
    RootCache::open(&folder.join("roots"), Limits::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_unpacked_once_also_for_several_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Arc::new(open(folder.path()).unwrap());
    let image = image(&[&[file("a", "1")]]);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (cache, image) = (Arc::clone(&cache), image.clone());
            tokio::spawn(async move { cache.root_of(&image).await.unwrap() })
        })
        .collect();
    let mut roots = Vec::new();
    for task in tasks {
        roots.push(task.await.unwrap());
    }
    assert!(roots.iter().all(|root| root.path() == roots[0].path()));
    assert_eq!(tree(roots[0].path()), expect(&[("a", &text("1"))]));
    // Unpacked again, the mark would be gone.
    fs::write(roots[0].path().join("mark"), "").unwrap();
    drop(roots);
    assert!(cache.root_of(&image).await.unwrap().path().join("mark").exists());
    drop(cache);
    let cache = open(folder.path()).unwrap();
    assert!(cache.root_of(&image).await.unwrap().path().join("mark").exists());
}

#[tokio::test]
async fn what_nobody_uses_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path()).unwrap();
    let (one, two) = (image(&[&[file("a", "1")]]), image(&[&[file("a", "2")]]));
    let used = cache.root_of(&one).await.unwrap();
    let unused = cache.root_of(&two).await.unwrap().path().to_owned();
    assert_eq!(cache.remove_unused(Duration::from_mins(5)).await.unwrap(), 0);
    assert_eq!(cache.remove_unused(Duration::ZERO).await.unwrap(), 1);
    assert!(used.path().join("a").exists() && !unused.exists());
    assert!(cache.root_of(&two).await.unwrap().path().join("a").exists());
}

#[tokio::test]
async fn a_half_made_tree_and_one_of_before_a_restart_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(&[&[file("a", "1")]]);
    let root = open(folder.path()).unwrap().root_of(&image).await.unwrap().path().to_owned();
    let partial = folder.path().join("roots/partial-1/root");
    fs::create_dir_all(&partial).unwrap();
    fs::write(root.join("mark"), "").unwrap();
    let cache = open(folder.path()).unwrap();
    assert!(!partial.exists() && root.join("mark").exists());
    drop(cache);
    fs::write(folder.path().join("roots/boot"), "another start of the machine").unwrap();
    let cache = open(folder.path()).unwrap();
    assert!(!root.exists());
    assert!(!cache.root_of(&image).await.unwrap().path().join("mark").exists());
}

#[tokio::test]
async fn an_image_that_cannot_be_unpacked_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path()).unwrap();
    let bad = image(&[&[file("a", "1"), file("../evil", "1")]]);
    assert!(cache.root_of(&bad).await.is_err());
    let mut left: Vec<_> =
        fs::read_dir(folder.path().join("roots")).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["boot", "lock"]);
}

#[test]
fn one_process_uses_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("another process"), "{error:?}");
}
