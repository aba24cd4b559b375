//! The name that a cgroup's path tells: of a container, or of a systemd unit.

/// Digits of a container's id.
const CONTAINER_ID: usize = 64;

/// As many of them as people are shown by container engines.
const SHORT_ID: usize = 12;

/// Before the id in the name of a container's scope.
const CONTAINER_SCOPES: [&str; 5] = ["docker-", "cri-containerd-", "crio-", "libpod-", "containerd-"];

/// The programs that start applications in a desktop's session (systemd.io, Desktop Environment Integration).
const LAUNCHERS: [&str; 6] = ["gnome-", "kde-", "flatpak-", "dbus-", "xdg-", "snap-"];

/// The name that a path tells, if any: the deepest part that tells one, so that of a unit in a container it is the
/// unit. A session, a slice, a user's manager or a transient unit of systemd-run tell nothing.
pub(super) fn of_path(path: &str) -> Option<String> {
    // With the driver `cgroupfs`, containerd has been seen to write `slice:cri-containerd:id` as one part.
    path.rsplit(['/', ':']).find_map(of_part)
}

fn of_part(part: &str) -> Option<String> {
    if let Some(name) = part.strip_suffix(".service") {
        return of_service(name);
    }
    if let Some(name) = part.strip_suffix(".scope") {
        return of_scope(name);
    }
    // LXC has its containers by name, OpenRC its services.
    let named = ["lxc.payload.", "openrc."].iter().find_map(|prefix| part.strip_prefix(prefix));
    named.filter(|name| !name.is_empty()).map(str::to_owned).or_else(|| container_id(part))
}

fn of_service(name: &str) -> Option<String> {
    if name.starts_with("user@") || is_transient(name) {
        return None;
    }
    match name.strip_prefix("app-") {
        // An instance of an application is told by what follows the `@`.
        Some(application) => application_name(application.split('@').next().unwrap_or(application)),
        None => Some(unescape(name)),
    }
}

fn of_scope(name: &str) -> Option<String> {
    if let Some(id) =
        CONTAINER_SCOPES.iter().find_map(|prefix| name.strip_prefix(prefix)).and_then(container_id)
    {
        return Some(id);
    }
    if let Some(machine) = name.strip_prefix("machine-") {
        return Some(unescape(machine));
    }
    let application = name.strip_prefix("app-")?;
    // A number tells two instances apart.
    let without_number = match application.rsplit_once('-') {
        Some((rest, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => application,
    };
    application_name(without_number)
}

fn application_name(name: &str) -> Option<String> {
    let name = LAUNCHERS.iter().find_map(|launcher| name.strip_prefix(launcher)).unwrap_or(name);
    (!name.is_empty()).then(|| unescape(name))
}

/// Whether systemd-run made up the name, `run-u12` or `run-r` and 32 digits: it would be new at every start.
fn is_transient(name: &str) -> bool {
    let Some(made_up) = name.strip_prefix("run-") else {
        return false;
    };
    let digits = |prefix: char, radix| {
        made_up
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(radix)))
    };
    digits('u', 10) || digits('r', 16) || digits('p', 10)
}

fn container_id(part: &str) -> Option<String> {
    let is_id = part.len() == CONTAINER_ID && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| part[..SHORT_ID].to_owned())
}

/// Undoes systemd's `\x2d` for a dash, and the like.
fn unescape(name: &str) -> String {
    let mut text = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        text.extend_from_slice(before.as_bytes());
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = if let Some(byte) = escaped {
            text.push(byte);
            &after[2..]
        } else {
            text.extend_from_slice(b"\\x");
            after
        };
    }
    text.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn name(path: &str) -> String {
        of_path(&path.replace("ID", ID)).unwrap_or_default()
    }

    #[test]
    fn containers_have_the_short_id() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/kubepods/burstable/pod1f2e3d4c-0000-1111-2222-333344445555/ID",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1f2e.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-pod1f2e.slice/crio-ID.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/system.slice/containerd.service/kubepods-besteffort-pod1f2e.slice:cri-containerd:ID",
            "/docker/ID/init.scope",
        ] {
            assert_eq!(name(path), "0123456789ab", "{path}");
        }
    }

    #[test]
    fn units_have_their_name() {
        assert_eq!(name("/system.slice/nginx.service"), "nginx");
        assert_eq!(name("/system.slice/nginx.service/worker"), "nginx");
        assert_eq!(
            name("/system.slice/system-postgresql.slice/postgresql@15-main.service"),
            "postgresql@15-main"
        );
        assert_eq!(name("/system.slice/foo\\x2dbar.service"), "foo-bar");
        assert_eq!(name("/docker/ID/system.slice/nginx.service"), "nginx", "a unit in a container");
        assert_eq!(name("/openrc.sshd"), "sshd");
        assert_eq!(name("/lxc.payload.web1/system.slice/cron.service"), "cron");
        assert_eq!(name("/lxc.payload.web1"), "web1");
        assert_eq!(name("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope"), "qemu-1-vm");
    }

    #[test]
    fn applications_of_a_desktop_have_theirs() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(name(&format!("{user}/app.slice/app-foo.scope")), "foo");
        assert_eq!(name(&format!("{user}/app.slice/app-gnome-firefox-4711.scope")), "firefox");
        assert_eq!(name(&format!("{user}/app.slice/app-org.kde.konsole@ab12.service")), "org.kde.konsole");
        assert_eq!(name(&format!("{user}/app.slice/pipewire.service")), "pipewire");
    }

    #[test]
    fn what_tells_nothing_has_no_name() {
        for path in [
            "/",
            "",
            "/init.scope",
            "/user.slice/user-1000.slice/session-3.scope",
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            "/user.slice/user-0.slice/user@0.service/app.slice/run-u34.service",
            "/system.slice/run-r0123456789abcdef0123456789abcdef.scope",
            "/docker/0123",
        ] {
            assert_eq!(name(path), "", "{path}");
        }
    }

    #[test]
    fn a_service_that_starts_with_run_is_no_transient_one() {
        assert_eq!(name("/system.slice/run-backup.service"), "run-backup");
        assert_eq!(name("/system.slice/broken\\xzz.service"), "broken\\xzz");
    }
}
