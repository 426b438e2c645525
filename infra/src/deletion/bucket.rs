//! Empties the stack's bucket: S3 deletes only empty buckets. The lease is in it too, so it goes last, and nothing is
//! written after it. Must not know why the bucket is emptied.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use cutover::run::LEASE_TTL;
use ledger::LeaseError;
use model::keys;

use crate::context::Context;
use crate::error::{Error, Result};
use aws::Calling as _;
use deploy::Cloud;

/// A version of an object, or the mark that one was deleted.
struct Version {
    key: String,
    id: Option<String>,
    /// Whether readers of the key get it.
    current: bool,
}

impl Version {
    /// Whether it is the lease as others see it. Older versions of it mean nothing.
    fn is_lease(&self) -> bool {
        self.current && self.key == keys::LOCK
    }
}

/// Whether there is a bucket of this name.
pub(super) async fn exists(cloud: &Cloud, bucket: &str) -> Result<bool> {
    match cloud.s3.head_bucket().bucket(bucket).set_expected_bucket_owner(cloud.account()).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(false),
        Err(error) => Ok(Err(error).calling(|| format!("read bucket {bucket}"))?),
    }
}

/// Deletes every version of every object, and with them the lease that this command holds.
///
/// The heartbeat of the lease goes on until everything else is deleted: if this command dies, the lease expires as soon as
/// ever. Then the heartbeat ends, because it would write into the empty bucket, and the lease is deleted.
pub(super) async fn empty(context: &Context, cloud: &Cloud, bucket: &str) -> Result<()> {
    if !exists(cloud, bucket).await? {
        return Ok(());
    }
    let mut deleted = delete(cloud, bucket, |version| !version.is_lease()).await?;
    freeze_lease(context).await?;
    deleted += delete(cloud, bucket, |_| true).await?;
    // Its object is deleted: there is nothing to give back.
    context.lease.lock().await.take();
    if deleted > 0 {
        context.listener.note(format!("emptied bucket {bucket}: {deleted} objects"));
    }
    Ok(())
}

/// Ends the heartbeat of the lease, if this command holds it.
async fn freeze_lease(context: &Context) -> Result<()> {
    let mut held = context.lease.lock().await;
    let Some(lease) = held.as_mut() else { return Ok(()) };
    match lease.freeze(LEASE_TTL).await {
        // Somebody deleted it: it does not have to be deleted.
        Ok(()) | Err(LeaseError::Gone) => Ok(()),
        Err(error) => Err(Error::failed(format!("the lease of stack {} was lost", context.stack))
            .because(error)
            .hint("check who holds it: bluegreen status")),
    }
}

/// Deletes the chosen versions, and returns their number.
async fn delete(cloud: &Cloud, bucket: &str, choose: impl Fn(&Version) -> bool) -> Result<usize> {
    let mut deleted = 0;
    let (mut key, mut version) = (None, None);
    loop {
        let page = cloud
            .s3
            .list_object_versions()
            .bucket(bucket)
            .set_expected_bucket_owner(cloud.account())
            .set_key_marker(key)
            .set_version_id_marker(version)
            .send()
            .await
            .calling(|| format!("list the objects of bucket {bucket}"))?;
        let versions = page.versions().iter().map(|it| (it.key(), it.version_id(), it.is_latest()));
        let markers = page.delete_markers().iter().map(|it| (it.key(), it.version_id(), it.is_latest()));
        let chosen = versions.chain(markers).filter_map(|(key, id, current)| {
            let (key, id) = (key?.to_owned(), id.map(str::to_owned));
            Some(Version { key, id, current: current.unwrap_or(true) }).filter(&choose)
        });
        deleted += delete_page(cloud, bucket, chosen.collect()).await?;
        if !page.is_truncated().unwrap_or_default() {
            return Ok(deleted);
        }
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
    }
}

/// Deletes these versions, which are at most as many as one call takes (1,000, as on a page of the list:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>).
async fn delete_page(cloud: &Cloud, bucket: &str, versions: Vec<Version>) -> Result<usize> {
    let count = versions.len();
    if count == 0 {
        return Ok(0);
    }
    let objects = versions
        .into_iter()
        .filter_map(|version| ObjectIdentifier::builder().key(version.key).set_version_id(version.id).build().ok());
    let delete = Delete::builder()
        .set_objects(Some(objects.collect()))
        .quiet(true)
        .build()
        .map_err(|error| Error::failed(format!("cannot empty bucket {bucket}")).because(error))?;
    let answer = cloud
        .s3
        .delete_objects()
        .bucket(bucket)
        .set_expected_bucket_owner(cloud.account())
        .delete(delete)
        .send()
        .await
        .calling(|| format!("empty bucket {bucket}"))?;
    match answer.errors().first() {
        None => Ok(count),
        Some(error) => {
            let key = error.key().unwrap_or("an object");
            Err(Error::failed(format!("cannot delete {key} from bucket {bucket}"))
                .because(error.message().unwrap_or("no reason given")))
        }
    }
}
