//! Configurations that name files.

use std::fs;

use super::*;

fn read(files: &[(&str, &str)]) -> Result<Arc<Web>, String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let path = directory.path().join("web.yml");
    Web::read(Some(&path))
        .map_err(|error| error.to_string().replace(&format!("{}", path.display()), "web.yml"))
}

fn wrong(files: &[(&str, &str)]) -> String {
    read(files).map(|_| ()).unwrap_err()
}

#[test]
fn without_a_configuration_everybody_is_served() {
    let web = Web::read(None).unwrap();
    assert!(web.current().tls.is_none() && web.current().credentials.are_none());
    assert_eq!(web.scheme(), "http");
}

#[test]
fn files_that_cannot_be_used_are_named_with_line_and_field() {
    assert!(wrong(&[]).starts_with("cannot read the web configuration web.yml: No such file"));
    let tls = "tls_server_config:\n  cert_file: a.pem\n  key_file: b.pem\n";
    assert_eq!(
        wrong(&[("web.yml", tls)]),
        "web.yml, line 2: `cert_file` a.pem cannot be read: No such file or directory (os error 2)"
    );
    let said = wrong(&[("web.yml", tls), ("a.pem", "nothing"), ("b.pem", "nothing")]);
    assert_eq!(said, "web.yml, line 2: `cert_file` a.pem has no certificate in it, in PEM");
    assert!(wrong(&[("web.yml", "tls_server_config:\n  key_file: b.pem\n")]).contains("set `cert_file`"));
    assert_eq!(
        wrong(&[("web.yml", "# passwords\nbasic_auth_users:\n  alice: plain\n")]),
        "web.yml, line 3: `basic_auth_users`: what alice has is no hash of bcrypt: `htpasswd -nB alice` makes one"
    );
    let token = ("web.yml", "bearer_token_file: token\n");
    assert!(wrong(&[token]).starts_with("web.yml, line 1: `bearer_token_file` token cannot be read"));
    assert!(wrong(&[token, ("token", " \n")]).contains("no token in it"));
    assert!(!read(&[token, ("token", "abc\n")]).unwrap().current().credentials.are_none());
}

#[test]
fn a_configuration_is_no_fifo() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.yml");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let said = Web::read(Some(&path)).unwrap_err().to_string();
    assert!(
        said.ends_with("it is a FIFO, and has to be a file, since it is read again when it changes"),
        "{said}"
    );
}
