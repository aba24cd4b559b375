//! The cgroups of a process, where there are several hierarchies: the one of version 2, and those of version 1 beside it.
//!
//! On such a host a socket's own cgroup may tell of the engine that started a container and not of the container: engines
//! of that time made its cgroups in the hierarchies of version 1 alone.

use super::cgroup_name;

/// The hierarchy in which systemd has its units on a host of version 1.
const SYSTEMD: &str = "name=systemd";

/// A line of `/proc/PID/cgroup`: see `cgroups(7)`.
struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

fn memberships(text: &str) -> impl Iterator<Item = Membership<'_>> {
    text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some(Membership { controllers, path })
    })
}

/// The name that the cgroups of a process tell, given the text of its `/proc/PID/cgroup` and the path that its socket has
/// in the hierarchy of version 2. A container comes before a unit, whichever hierarchy knows of it.
pub(super) fn name(text: &str, unified: Option<&str>) -> Option<String> {
    let container = unified.and_then(cgroup_name::container_of_path);
    container
        .or_else(|| memberships(text).find_map(|group| cgroup_name::container_of_path(group.path)))
        .or_else(|| unified.and_then(cgroup_name::of_path))
        .or_else(|| {
            let units = memberships(text).filter(|group| matches!(group.controllers, "" | SYSTEMD));
            units.map(|group| group.path).find_map(cgroup_name::of_path)
        })
}

/// The paths in all hierarchies.
pub(super) fn paths(text: &str) -> impl Iterator<Item = &str> {
    memberships(text).map(|group| group.path)
}

/// The path in the hierarchy of version 2.
pub(super) fn unified(text: &str) -> Option<&str> {
    memberships(text).find(|group| group.controllers.is_empty()).map(|group| group.path)
}

/// The path in the hierarchy of version 1 that has a controller.
pub(super) fn of_controller<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    let has = |group: &Membership<'_>| group.controllers.split(',').any(|name| name == controller);
    memberships(text).find(has).map(|group| group.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_that_only_version_1_knows_is_not_its_engine() {
        let text = format!(
            "4:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n"
        );
        let found = name(&text, unified(&text));
        assert_eq!(found.as_deref(), Some("0123456789ab"));
        assert_eq!(name("0::/x\n", Some("/system.slice/web.service")).as_deref(), Some("web"));
    }

    #[test]
    fn a_unit_that_only_version_1_knows_is_one() {
        let text = "4:memory:/jobs.service\n1:name=systemd:/system.slice/web.service\n0::/\n";
        assert_eq!(name(text, Some("/")).as_deref(), Some("web"), "controllers may be anybody's");
        assert_eq!(name("1:name=systemd:/user.slice\n0::/\n", Some("/")), None);
        assert_eq!(name("not a line", None), None);
    }

    #[test]
    fn a_controller_may_share_its_hierarchy() {
        let text = "4:memory:/a\n3:cpu,cpuacct:/b\n0::/c\n";
        assert_eq!([of_controller(text, "memory"), of_controller(text, "cpuacct")], [Some("/a"), Some("/b")]);
        assert_eq!(of_controller(text, "acct"), None);
    }
}
