//! The admin token: made once, kept in the data folder, readable by its owner only (S28).
//!
//! The file `<data>/admin_token` holds 43 characters of base64url (256 random bits) and a line
//! feed. It is opened here directly, not through [`Disk`](thalweg_core::env::Disk), which knows no
//! access rights; and its randomness is the operating system's, never that of the seed, which an
//! attacker could know. Both doors are in this module only.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use thalweg_core::{Error, Result};

/// Name of the file in the data folder.
const FILE_NAME: &str = "admin_token";
/// Characters below which a token, written by hand, is refused.
const LENGTH_MIN: usize = 32;

/// Who shows it may do everything.
#[derive(Clone)]
pub struct AdminToken {
    text: String,
    is_new: bool,
}

impl AdminToken {
    /// Reads the token of a data folder, or makes one with rights 0600. Blocking.
    ///
    /// # Errors
    ///
    /// `Invalid` when the file can be read by others or is too short; `Unavailable` when it cannot
    /// be read or written.
    pub fn of_data_folder(data_folder: &Path) -> Result<Self> {
        let path = data_folder.join(FILE_NAME);
        match fs::read_to_string(&path) {
            Ok(text) => Self::check(&path, text.trim()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = secret()?;
                write_private(&path, &text).map_err(|error| unavailable("write", &path, error))?;
                Ok(Self { text, is_new: true })
            }
            Err(error) => Err(unavailable("read", &path, error)),
        }
    }

    fn check(path: &Path, text: &str) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| unavailable("read", path, error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::invalid(format!("others can read {}", path.display()))
                .with_detail(format!("Its rights are {mode:03o}."))
                .with_hint(format!(
                    "Remove it, and a new token is made; or `chmod 600 {}`.",
                    path.display()
                )));
        }
        if text.len() < LENGTH_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(format!("{} holds no token", path.display()))
                .with_hint("Remove it, and a new token is made."));
        }
        Ok(Self { text: text.to_owned(), is_new: false })
    }

    /// Whether the token was made just now: the time to print the login link.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The link that opens the screen, logged in. A secret.
    pub fn login_link(&self, address: SocketAddr) -> String {
        format!("http://{address}/login?token={}", self.text)
    }

    /// What is compared with [`digest`] of what a client shows.
    pub(crate) fn digest(&self) -> [u8; 32] {
        digest(&self.text)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").field("is_new", &self.is_new).finish_non_exhaustive()
    }
}

/// SHA-256. Secrets are kept and compared only so: time then tells nothing about the secret itself.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether two digests are equal, in a time that does not depend on where they differ.
pub(crate) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// 256 bits nobody can foresee, as base64url.
pub(crate) fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::unavailable("the operating system gives no randomness").with_source(error)
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Writes the file whole, with rights 0600 from its first moment.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn unavailable(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {verb} {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = AdminToken::of_data_folder(folder.path()).unwrap();
        assert!(first.is_new());
        let path = folder.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = AdminToken::of_data_folder(folder.path()).unwrap();
        assert!(!second.is_new());
        assert_eq!(first.text, second.text);
        assert_eq!(first.text.len(), 43);
        assert!(!format!("{first:?}").contains(&first.text));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = AdminToken::of_data_folder(folder.path()).unwrap_err();
        assert!(error.message.starts_with("others can read"), "{}", error.message);
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        write_private(&folder.path().join(FILE_NAME), "").unwrap();
        let error = AdminToken::of_data_folder(folder.path()).unwrap_err();
        assert!(error.message.ends_with("holds no token"), "{}", error.message);
    }

    #[test]
    fn digests_are_equal_only_when_all_bytes_are() {
        let a = digest("a");
        assert!(equal(&a, &digest("a")));
        for index in 0..32 {
            let mut b = a;
            b[index] ^= 1;
            assert!(!equal(&a, &b));
        }
    }
}
