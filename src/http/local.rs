//! The local token: what orders need where no tokens are configured.
//!
//! On loopback everybody on the machine may read. Orders give up data, so they need a token that
//! only the server's own user and root can read: the server makes it at its first start, beside its
//! journal, and keeps it.
//!
//! # Design
//!
//! The command line is told by the refusal itself where the token is: no folder has to be agreed on,
//! and whoever may not read the file learns nothing from its path. Before it sends the token, it
//! wants proof that the other side knows it: any user may listen on the port while quorate does not
//! run. The proof is made of a number the command line chose and of the server's own port, so that
//! another server's proof is good for nothing.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use axum::http::HeaderMap;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use super::{
    error::Refusal,
    secret::{Secret, SecretError, read_regular},
};

/// Its file in the folder of the store.
pub const FILE: &str = "local.token";

/// The header that carries the number to be proven with.
pub const NONCE: &str = "quorate-nonce";

/// What a token begins with: no other file is taken for one, whoever names it.
const PREFIX: &str = "quorate_";

/// Longest number to be proven with, in bytes: sixteen bytes as hex, and room.
const NONCE_MAX: usize = 64;

/// The token that this server made.
#[derive(Debug)]
pub struct LocalToken {
    path: PathBuf,
    secret: Secret,
    port: u16,
}

impl LocalToken {
    /// Reads the token of a store's folder, and makes it where there is none. `port` is where the
    /// server listens.
    pub fn open(folder: &Path, port: u16) -> Result<Self, SecretError> {
        let path = folder.join(FILE);
        let path = std::path::absolute(&path).unwrap_or(path);
        let failed = |source| SecretError::Unreadable { path: path.clone(), source };
        if !path.exists() {
            make(&path).map_err(failed)?;
            tracing::info!(file = %path.display(), "made the token that orders need");
        }
        read(&path).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { secret: Secret::open(&path)?, path, port })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the token.
    pub fn is(&self, given: &str) -> bool {
        self.secret.is(given)
    }

    /// What is answered to an order that came without it.
    pub(super) fn wanted(&self, headers: &HeaderMap) -> Refusal {
        let nonce = headers.get(NONCE).and_then(|nonce| nonce.to_str().ok());
        let nonce = nonce.filter(|nonce| nonce.len() <= NONCE_MAX);
        let proof = nonce.map(|nonce| proof(&self.secret.digest(), nonce, self.port));
        Refusal::Locked { path: self.path.display().to_string(), proof }
    }
}

/// Made elsewhere and moved into place: a crash leaves no half of a token.
fn make(path: &Path) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(format!("{PREFIX}{}\n", random_hex::<32>()?).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// The token in a file; anything else there is refused.
pub fn read(path: &Path) -> io::Result<String> {
    let text = read_regular(path, 256)?;
    let token = text.trim_end();
    let hex = token.strip_prefix(PREFIX).unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(token.to_owned());
    }
    let what = "it holds no token that quorate made; remove it, and the next start makes one";
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Shows that a token is known. `digest` is the token's SHA-256.
pub fn proof(digest: &[u8; 32], nonce: &str, port: u16) -> String {
    let mut hash = Sha256::new();
    hash.update(b"quorate local token\n");
    hash.update(digest);
    hash.update(format!("{port}\n{nonce}"));
    hex(&hash.finalize())
}

/// What a server that knows the token answers to this number.
pub fn expected_proof(token: &str, nonce: &str, port: u16) -> String {
    proof(&Sha256::digest(token).into(), nonce, port)
}

/// Bytes that nobody can guess, as hex.
pub fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let first = LocalToken::open(dir.path(), 1).unwrap();
        let token = read(&path).unwrap();
        assert!(first.is(&token) && !first.is(""));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(LocalToken::open(dir.path(), 1).unwrap().is(&token), "it stays");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "changeme\n").unwrap();
        assert!(LocalToken::open(dir.path(), 1).is_err());
    }

    #[test]
    fn a_proof_is_good_for_one_number_and_one_port() {
        let dir = tempfile::tempdir().unwrap();
        let token = LocalToken::open(dir.path(), 9912).unwrap();
        let text = read(token.path()).unwrap();
        let headers = HeaderMap::from_iter([(NONCE.parse().unwrap(), "abc".parse().unwrap())]);
        let Refusal::Locked { proof: Some(proof), path } = token.wanted(&headers) else { panic!() };
        assert_eq!(path, token.path().display().to_string());
        assert_eq!(proof, expected_proof(&text, "abc", 9912));
        assert_ne!(proof, expected_proof(&text, "abc", 9913));
        assert_ne!(proof, expected_proof(&text, "abd", 9912));
        let plain = token.wanted(&HeaderMap::new());
        assert!(matches!(plain, Refusal::Locked { proof: None, .. }));
    }
}
