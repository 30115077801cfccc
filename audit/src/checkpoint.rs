//! Checkpoints (C2SP tlog-checkpoint) and the file that holds them.
//!
//! A checkpoint is a signed note over three lines: origin, size, base64 of the root. The file `checkpoints` holds one after the
//! other, each followed by an empty line. A crash can leave the last one incomplete: cut off, or with zeros where bytes did not
//! reach the disk. Anything else that does not read as a checkpoint is not a crash's doing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::chain::Hash;
use crate::fields::decimal;
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, SigningKey, VerifierKey};

/// Most bytes that a crash can leave of one checkpoint, the empty line included.
pub const CHECKPOINT_BYTES_MAX: usize = NOTE_BYTES_MAX;

/// Size and root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// The text of a checkpoint.
pub(crate) fn text(origin: &str, head: &TreeHead) -> String {
    format!("{origin}\n{}\n{}\n", head.size, STANDARD.encode(head.root))
}

/// Signs a checkpoint: the note, without the empty line that follows it in the file.
///
/// # Errors
/// [`NoteError::Crypto`] when signing fails.
pub fn sign(key: &SigningKey, head: &TreeHead) -> Result<String, NoteError> {
    key.sign_note(&text(key.public().name(), head))
}

/// Reads a checkpoint note and checks the signature of `key`, whose name must be the origin.
///
/// # Errors
/// [`NoteError`] for what is not a checkpoint of this log signed by this key.
pub fn open(note: &str, key: &VerifierKey) -> Result<TreeHead, NoteError> {
    let note = Note::parse(note)?;
    let (origin, head) = parse_text(note.text).ok_or(NoteError::Malformed)?;
    note.verify(key)?;
    if origin == key.name() { Ok(head) } else { Err(NoteError::NotSigned) }
}

/// Reads a checkpoint note without checking any signature: origin and head.
///
/// # Errors
/// [`NoteError::Malformed`] for what is not a checkpoint.
pub fn peek(note: &str) -> Result<(&str, TreeHead), NoteError> {
    parse_text(Note::parse(note)?.text).ok_or(NoteError::Malformed)
}

fn parse_text(text: &str) -> Option<(&str, TreeHead)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, decimal(lines.next()?)?, lines.next()?);
    let root = STANDARD.decode(root).ok()?.try_into().ok()?;
    // Extension lines are allowed by the specification and never written here; a fourth line would be unchecked text.
    if lines.next().is_some() {
        return None;
    }
    Some((origin, TreeHead { size, root }))
}

/// What stands at the start of a piece of the checkpoints file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileItem<'a> {
    /// A note and the bytes it takes with its empty line.
    Note { note: &'a str, bytes: usize },
    /// The bytes end inside a note, or hold zeros where text belongs.
    Incomplete,
    /// Complete, and no note.
    Malformed,
    /// Nothing left.
    End,
}

/// Takes the first item off `bytes`, which must reach to the end of the file or hold at least [`CHECKPOINT_BYTES_MAX`].
pub(crate) fn first_item(bytes: &[u8]) -> FileItem<'_> {
    if bytes.is_empty() {
        return FileItem::End;
    }
    let Some(text_end) = find_empty_line(bytes, 0) else { return without_end(bytes) };
    let Some(end) = find_empty_line(bytes, text_end) else { return without_end(bytes) };
    let (Some(item), Some(note)) = (bytes.get(..end), bytes.get(..end - 1)) else {
        return FileItem::Malformed;
    };
    if item.contains(&0) {
        return FileItem::Incomplete;
    }
    match std::str::from_utf8(note) {
        Ok(note) if note.len() < CHECKPOINT_BYTES_MAX => FileItem::Note { note, bytes: end },
        _ => FileItem::Malformed,
    }
}

fn without_end(bytes: &[u8]) -> FileItem<'_> {
    if bytes.len() > CHECKPOINT_BYTES_MAX { FileItem::Malformed } else { FileItem::Incomplete }
}

/// End of the first empty line at or after `from`.
fn find_empty_line(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(2).position(|pair| pair == b"\n\n").map(|at| from + at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("log.example/audit", &[3; 32]).unwrap()
    }

    #[test]
    fn checkpoint_opens_with_its_key_only() {
        let head = TreeHead { size: 12, root: [5; 32] };
        let note = sign(&key(), &head).unwrap();
        assert_eq!(open(&note, key().public()), Ok(head));
        assert_eq!(peek(&note), Ok(("log.example/audit", head)));
        let other = SigningKey::from_seed("log.example/audit", &[4; 32]).unwrap();
        assert_eq!(open(&note, other.public()), Err(NoteError::NotSigned));
        assert_eq!(open(&note.replace("\n12\n", "\n13\n"), key().public()), Err(NoteError::WrongSignature));
    }

    #[test]
    fn file_cut_at_any_byte_is_incomplete_and_never_malformed() {
        let note = sign(&key(), &TreeHead { size: 1, root: [1; 32] }).unwrap();
        let file = format!("{note}\n");
        let bytes = file.len();
        assert_eq!(first_item(file.as_bytes()), FileItem::Note { note: &note, bytes });
        for cut in 1..bytes {
            assert_eq!(first_item(&file.as_bytes()[..cut]), FileItem::Incomplete, "cut at {cut}");
        }
        let mut holed = file.clone().into_bytes();
        holed[20] = 0;
        assert_eq!(first_item(&holed), FileItem::Incomplete);
    }
}
