//! The name that a cgroup's path tells: of a container, or of a systemd unit.

/// Digits of a container's id.
const CONTAINER_ID: usize = 64;

/// As many of them as people are shown by container engines.
const SHORT_ID: usize = 12;

/// Before the id in the name of a container's scope; CRI-O and podman write it without a scope too.
const CONTAINER_PREFIXES: [&str; 6] =
    ["docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-", "containerd-"];

/// The programs that start applications in a desktop's session (systemd.io, Desktop Environment Integration).
const LAUNCHERS: [&str; 6] = ["gnome-", "kde-", "flatpak-", "dbus-", "xdg-", "snap-"];

/// The name that a path tells, if any: the deepest part that tells one, so that of a unit in a container it is the
/// unit. A session, a slice, a user's manager or a transient unit of systemd-run tell nothing.
pub(super) fn of_path(path: &str) -> Option<String> {
    let mut parts = path.rsplit('/').peekable();
    while let Some(part) = parts.next() {
        let name = of_part(part).filter(|name| !name.is_empty()).or_else(|| {
            // Old versions of LXC had their containers in a directory of theirs.
            (parts.peek() == Some(&"lxc") && !part.is_empty()).then(|| part.to_owned())
        });
        if name.is_some() {
            return name;
        }
    }
    None
}

/// The name of the innermost container that a path tells of.
pub(super) fn container_of_path(path: &str) -> Option<String> {
    path.rsplit('/').find_map(container_of_part)
}

/// The path as far as the deepest part that tells a name: what lies below it belongs to whoever has the name.
pub(super) fn own_part<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let mut own = path;
    while !own.is_empty() {
        let (above, part) = own.rsplit_once('/').unwrap_or(("", own));
        // In a container there may be units; either may be who is asked for.
        let told = [of_path(part), container_of_part(part)];
        let is_lxc = above.ends_with("/lxc") && part == name;
        if is_lxc || told.iter().flatten().any(|told| told == name) {
            return Some(own);
        }
        own = above;
    }
    None
}

fn of_part(part: &str) -> Option<String> {
    if let Some(name) = part.strip_suffix(".service") {
        return of_service(name);
    }
    if let Some(name) = part.strip_suffix(".scope") {
        return container_of_part(part).or_else(|| of_scope(name));
    }
    // LXC has its containers by name, OpenRC its services.
    let named = ["lxc.payload.", "openrc."].iter().find_map(|prefix| part.strip_prefix(prefix));
    named.filter(|name| !name.is_empty()).map(str::to_owned).or_else(|| container_of_part(part))
}

/// The short id, if a part is that of a container, with a scope or without.
fn container_of_part(part: &str) -> Option<String> {
    full_container_id(part).map(|id| shortened(id).to_owned())
}

/// The first characters of a container's id, by which people know it.
pub(super) fn shortened(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// The whole id, likewise.
pub(super) fn full_container_id(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let prefixed =
        || CONTAINER_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).and_then(container_id);
    // With the driver `cgroupfs`, containerd has been seen to write `slice:cri-containerd:id` as one part.
    container_id(part.rsplit(':').next().unwrap_or(part)).or_else(prefixed)
}

fn of_service(name: &str) -> Option<String> {
    if name.starts_with("user@") || is_transient(name) {
        return None;
    }
    match name.strip_prefix("app-") {
        // An instance of an application is told by what follows the `@`.
        Some(application) => application_name(application.split('@').next().unwrap_or(application)),
        None => Some(unescape(without_connection(name))),
    }
}

/// The name of a unit that systemd starts for each connection, `sshd@3-192.0.2.1:22-192.0.2.9:40112`, without the
/// connection: it would be new each time.
fn without_connection(name: &str) -> &str {
    let Some((unit, instance)) = name.split_once('@') else {
        return name;
    };
    let number = instance.split('-').next().unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    // Two ends with their ports. By a socket of files there are a process and a user, which tell no more.
    if is_number && instance.matches('-').count() >= 2 && instance.matches(':').count() >= 2 {
        return unit;
    }
    name
}

fn of_scope(name: &str) -> Option<String> {
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

/// Whether systemd-run made up the name, `run-u12`, `run-r` and 32 digits, or since version 257 `run-p12-i34`: it would
/// be new at every start.
fn is_transient(name: &str) -> bool {
    let Some(made_up) = name.strip_prefix("run-") else {
        return false;
    };
    let digits = |text: &str, prefix: char, radix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(radix)))
    };
    let process_and_number = made_up
        .split_once('-')
        .is_some_and(|(process, number)| digits(process, 'p', 10) && digits(number, 'i', 10));
    digits(made_up, 'u', 10) || digits(made_up, 'r', 16) || digits(made_up, 'p', 10) || process_and_number
}

fn container_id(part: &str) -> Option<&str> {
    let is_id = part.len() == CONTAINER_ID && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(part)
}

/// Undoes systemd's `\x2d` for a dash, and the like; not where that gives a control character, which no honest name
/// has. A NUL would end the page of metrics for its readers.
fn unescape(name: &str) -> String {
    let mut text = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        text.extend_from_slice(before.as_bytes());
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let escaped = escaped.filter(|byte| !byte.is_ascii_control());
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

    #[test]
    fn own_is_what_tells_the_name_and_all_below_it() {
        let own =
            |path: &str, name: &str| own_part(&path.replace("ID", ID), name).map(|own| own.replace(ID, "ID"));
        assert_eq!(own("/system.slice/web.service/workers/1", "web").unwrap(), "/system.slice/web.service");
        assert_eq!(
            own("/docker/ID/system.slice/web.service", "web").unwrap(),
            "/docker/ID/system.slice/web.service"
        );
        assert_eq!(own("/docker/ID/system.slice/web.service", &ID[..12]).unwrap(), "/docker/ID");
        assert_eq!(
            own("/machine.slice/libpod-ID.scope/container", &ID[..12]).unwrap(),
            "/machine.slice/libpod-ID.scope"
        );
        assert_eq!(own("/lxc/box/x", "box").unwrap(), "/lxc/box");
        assert_eq!(
            own("/system.slice/containerd.service", &ID[..12]),
            None,
            "the engine's, not the container's"
        );
        assert_eq!(own("/user.slice/session-1.scope", "nginx"), None);
        assert_eq!(own("/", "nginx"), None);
    }

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
            "/kubepods/burstable/pod1f2e3d4c-0000-1111-2222-333344445555/crio-ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f2e.slice/crio-ID.scope/container",
            "/libpod_parent/libpod-ID",
            "/libpod_parent/libpod-ID/container",
            "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "/system.slice/nerdctl-ID.scope",
            "/ecs/0123456789abcdef0123456789abcdef/ID",
        ] {
            assert_eq!(name(path), "0123456789ab", "{path}");
        }
    }

    #[test]
    fn a_container_in_a_container_is_the_inner_one() {
        let inner = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
        for below in [
            format!(
                "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1f2e.slice/cri-containerd-{inner}.scope"
            ),
            format!("kubelet/kubepods/besteffort/pod1f2e/{inner}"),
        ] {
            assert_eq!(name(&format!("/docker/ID/{below}")), "fedcba987654", "kind: {below}");
        }
        assert_eq!(name("/docker/ID/kubelet.slice/kubelet.service"), "kubelet");
        assert_eq!(
            name("/system.slice/web.service/libpod-payload-ID"),
            "web",
            "podman's container of a unit"
        );
        assert_eq!(name("/machine.slice/libpod-conmon-ID.scope"), "", "who watches it is not the container");
    }

    #[test]
    fn a_unit_of_each_connection_is_one_service() {
        assert_eq!(
            name("/system.slice/system-sshd.slice/sshd@3-192.0.2.1:22-192.0.2.9:40112.service"),
            "sshd"
        );
        assert_eq!(name("/system.slice/sshd@12-[2001:db8::1]:22-[2001:db8::2]:5.service"), "sshd");
        assert_eq!(name("/system.slice/tunnel@10.0.0.1:22.service"), "tunnel@10.0.0.1:22");
        assert_eq!(name("/system.slice/getty@tty1.service"), "getty@tty1");
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
        assert_eq!(
            name("/system.slice/a\\x0ab\\x00\\x7f.service"),
            "a\\x0ab\\x00\\x7f",
            "control characters stay as written"
        );
        for path in
            ["/web.slice/.service", "/machine-.scope", "/app-.service", "/system.slice/@3-1:2-3:4.service"]
        {
            assert_eq!(name(path), "", "{path}");
            assert_eq!(
                name(&format!("/system.slice/web.service{path}")),
                "web",
                "{path}: the unit that it is in"
            );
        }
        assert_eq!(name("/docker/ID/system.slice/nginx.service"), "nginx", "a unit in a container");
        assert_eq!(name("/openrc.sshd"), "sshd");
        assert_eq!(name("/lxc.payload.web1/system.slice/cron.service"), "cron");
        assert_eq!(name("/lxc.payload.web1"), "web1");
        assert_eq!(name("/lxc/web1/system.slice"), "web1", "as versions before 4 had it");
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
            "/system.slice/run-p4711-i4712.service",
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

    proptest::proptest! {
        #[test]
        fn no_path_tells_an_empty_name_or_one_with_characters_that_it_has_not(path in r"(/[a-z@\\x0-9\x{202e}.:-]{0,20}(\.service|\.scope|\.slice)?){1,4}") {
            if let Some(name) = of_path(&path) {
                proptest::prop_assert!(!name.is_empty(), "{path:?}");
                proptest::prop_assert!(!name.chars().any(char::is_control), "{path:?} tells {name:?}");
            }
        }
    }
}
