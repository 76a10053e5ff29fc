//! Takes the files of Swagger UI that are served out of the archive that its crate vendors, and compresses every file that
//! never changes, so that the binary holds them as they go out.

use std::error::Error;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// What is served, and its licence.
const FILES: &[&str] =
    &["dist/swagger-ui.css", "dist/swagger-ui-bundle.js", "dist/favicon-32x32.png", "LICENSE", "NOTICE"];

/// Ours.
const ASSETS: &[&str] = &["assets/swagger.html", "assets/opentext-config.js", "openapi.yaml"];

#[expect(clippy::disallowed_methods, reason = "what cargo says to a build script is in the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut archive = zip::ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let first = archive.file_names().next().ok_or("the archive of Swagger UI is empty")??.into_owned();
    let root = first.split('/').next().unwrap_or_default();
    for file in FILES {
        let mut content = Vec::new();
        archive.by_name(&format!("{root}/{file}"))?.read_to_end(&mut content)?;
        let name = file.rsplit('/').next().unwrap_or(file);
        std::fs::write(directory.join(format!("swagger-{name}")), &content)?;
        compress(&directory, &format!("swagger-{name}"), &content)?;
    }
    for asset in ASSETS {
        println!("cargo::rerun-if-changed={asset}");
        let name = asset.rsplit('/').next().unwrap_or(asset);
        compress(&directory, name, &std::fs::read(asset)?)?;
    }
    Ok(())
}

fn compress(directory: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    std::fs::write(directory.join(format!("{name}.gz")), encoder.finish()?)
}
