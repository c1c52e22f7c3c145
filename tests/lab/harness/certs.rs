//! A certificate authority of one test, with a certificate for all members and one for clients.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// PEM files in one folder.
#[derive(Clone, Debug)]
pub(crate) struct Certs {
    dir: PathBuf,
}

impl Certs {
    /// Writes `ca.crt`, `server.{crt,key}` for `addresses` and `client.{crt,key}` into `dir`.
    pub(crate) fn write(dir: &Path, addresses: &[IpAddr]) -> Self {
        fs::create_dir_all(dir).unwrap();
        let certs = Self { dir: dir.to_owned() };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(certs.ca(), issuer.pem()).unwrap();
        let sans = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
        // A member shows its certificate to its peers as a client too, hence both usages.
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        certs.issue(&issuer, "server", &both, sans);
        certs.issue(&issuer, "client", &[ExtendedKeyUsagePurpose::ClientAuth], Vec::new());
        certs
    }

    fn issue(
        &self,
        issuer: &CertifiedIssuer<'_, KeyPair>,
        name: &str,
        usages: &[ExtendedKeyUsagePurpose],
        sans: Vec<SanType>,
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = usages.to_vec();
        params.subject_alt_names = sans;
        fs::write(self.file(name, "crt"), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
        fs::write(self.file(name, "key"), key.serialize_pem()).unwrap();
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca", "crt")
    }

    /// `crt` or `key` of `server` or `client`.
    pub(crate) fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }

    /// etcd's flags for mutual TLS on the client and the peer port.
    pub(crate) fn etcd_args(&self) -> Vec<String> {
        let (crt, key) = (self.file("server", "crt"), self.file("server", "key"));
        let (crt, key, ca) = (crt.display(), key.display(), self.ca());
        let ca = ca.display();
        vec![
            format!("--cert-file={crt}"),
            format!("--key-file={key}"),
            format!("--trusted-ca-file={ca}"),
            "--client-cert-auth".to_owned(),
            format!("--peer-cert-file={crt}"),
            format!("--peer-key-file={key}"),
            format!("--peer-trusted-ca-file={ca}"),
            "--peer-client-cert-auth".to_owned(),
        ]
    }
}
