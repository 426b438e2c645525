//! Puts the cutover function's zip into the command, where `BLUEGREEN_EMBED_FUNCTION` names one (`make install` does): it
//! then deploys anywhere, with nothing beside it.

use std::error::Error;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "BLUEGREEN_EMBED_FUNCTION";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let out = std::env::var_os("OUT_DIR").ok_or("Cargo names no OUT_DIR")?;
    let zip = Path::new(&out).join("function.zip");
    let Some(named) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Ok(std::fs::write(zip, [])?);
    };
    if !named.is_absolute() {
        return Err(format!("{VARIABLE}={}: name the zip by its whole path, from /", named.display()).into());
    }
    println!("cargo:rerun-if-changed={}", named.display());
    std::fs::copy(&named, zip).map_err(|error| format!("cannot read {VARIABLE}={}: {error}", named.display()))?;
    Ok(())
}
