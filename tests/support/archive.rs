//! A few small files as one: each its name, its bytes, one after another.

use std::fs;
use std::io::Read;
use std::path::Path;

/// Names below some folder, and bytes.
pub type Files = Vec<(String, Vec<u8>)>;

/// The files as one: for each the length of its name in a byte, the name, the length of its bytes in four, the bytes.
pub fn pack(files: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.push(u8::try_from(name.len()).expect("a short name"));
        out.extend(name.as_bytes());
        out.extend(u32::try_from(bytes.len()).expect("a small file").to_le_bytes());
        out.extend(bytes);
    }
    out
}

/// The files again; what does not fit the form any more is left out.
pub fn unpack(mut packed: &[u8]) -> Files {
    let mut files = Files::new();
    let mut entry = |packed: &mut &[u8]| -> Option<()> {
        let mut length = [0];
        packed.read_exact(&mut length).ok()?;
        let mut name = vec![0; usize::from(length[0])];
        packed.read_exact(&mut name).ok()?;
        let mut length = [0; 4];
        packed.read_exact(&mut length).ok()?;
        let mut bytes = Vec::new();
        packed.by_ref().take(u64::from(u32::from_le_bytes(length))).read_to_end(&mut bytes).ok()?;
        files.push((String::from_utf8_lossy(&name).into_owned(), bytes));
        Some(())
    };
    while entry(&mut packed).is_some() {}
    files
}

/// The files of a store that matter, as they are.
pub fn of_store(root: &Path) -> Files {
    let mut names = vec!["store.sqlite".to_owned()];
    let segments = fs::read_dir(root.join("blobs")).unwrap();
    names.extend(segments.map(|entry| format!("blobs/{}", entry.unwrap().file_name().to_string_lossy())));
    names.sort();
    names.into_iter().map(|name| (name.clone(), fs::read(root.join(name)).unwrap())).collect()
}

/// Writes them below `root`. Only names that a store has are written: nothing outside of `root`.
pub fn lay_out(files: &Files, root: &Path) {
    fs::create_dir_all(root.join("blobs")).unwrap();
    for (name, bytes) in files {
        let inside = name.strip_prefix("blobs/").unwrap_or(name);
        if !inside.is_empty() && !inside.starts_with('.') && !inside.contains(['/', '\0']) && inside != "blobs" {
            let _ = fs::write(root.join(name), bytes);
        }
    }
}
