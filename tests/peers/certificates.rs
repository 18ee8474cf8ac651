//! An authority, and certificates by it in files.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData,
};

/// An authority and the folder of what it made; all can be read by others but the keys.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("the-authority.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The file with its own certificate.
    pub(crate) fn file(&self) -> String {
        self.path("the-authority.pem")
    }

    /// The SHA-256 of its own certificate, as a TLSA record has it.
    pub(crate) fn hash(&self) -> String {
        hash(self.issuer.der())
    }

    /// Write a certificate for `hosts` to `NAME.pem`, its key to `NAME.key`, both with the
    /// authority's own to `NAME.both`. The SHA-256 of the public key, as a TLSA record has it.
    pub(crate) fn write(&self, name: &str, hosts: &[&str]) -> String {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let hash = hash(&key.subject_public_key_info());
        let key = key.serialize_pem();
        std::fs::write(self.path(&format!("{name}.pem")), &certificate).unwrap();
        for (suffix, text) in
            [("key", key.clone()), ("both", certificate + &self.issuer.pem() + &key)]
        {
            let path = PathBuf::from(self.path(&format!("{name}.{suffix}")));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        hash
    }

    /// A file that it made.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A `[[certificate]]` of the relay's configuration.
    pub(crate) fn section(&self, name: &str) -> String {
        let (file, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("[[certificate]]\nfile = {file:?}\nkey = {key:?}\n")
    }
}

fn hash(octets: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}
