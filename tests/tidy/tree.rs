//! The files of the repository, without what a build or a tool puts beside them.

use std::path::Path;
use std::{fs, io};

/// Folders that hold nothing we wrote.
const SKIPPED: &[&str] = &["target", "node_modules"];

/// One text file.
pub(crate) struct File {
    /// Its path from the root of the repository, with `/`.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) text: String,
}

/// Every file whose name ends so, sorted by name. Hidden folders are left out.
///
/// # Errors
/// A folder or a file cannot be read, or a file is not UTF-8.
pub(crate) fn files(ending: &str) -> io::Result<Vec<File>> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", ending, &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn walk(root: &Path, folder: &str, ending: &str, found: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            walk(root, &path, ending, found)?;
        } else if kind.is_file() && name.ends_with(ending) {
            found.push(File { text: fs::read_to_string(entry.path())?, name: path });
        }
    }
    Ok(())
}
