//! Unpacks the image of an archive into a folder: `unpack build/app.tar build/root`.

use std::path::Path;
use std::process::ExitCode;

use oci_image::{Architecture, Image, Limits};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [archive, root] = &arguments[..] else {
        eprintln!("usage: unpack ARCHIVE FOLDER");
        return ExitCode::from(2);
    };
    match unpack(Path::new(archive), Path::new(root)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{error}");
            let mut next = std::error::Error::source(&*error);
            while let Some(error) = next {
                eprint!(": {error}");
                next = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn unpack(archive: &Path, root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let architecture = Architecture::of_host().ok_or("images for this processor are not supported")?;
    let image = Image::from_archive(archive, architecture).await?;
    let unpacked = image.unpack(root, &Limits::default()).await?;
    println!("{}: {} files, {} bytes", image.digest(), unpacked.entries, unpacked.bytes);
    for path in &unpacked.left_out {
        println!("left out: {path}");
    }
    Ok(())
}
