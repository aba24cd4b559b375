//! Images, made without a registry: from programs of this machine, with the libraries that they are linked to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::Cluster;
use crate::exec;

/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";
/// A server and clients, for pods to run.
const TOOLS: &str = "localhost/tools:1";

/// What is in it: Debian's own, as it runs on this machine.
const PROGRAMS: [&str; 6] = ["nginx", "h2load", "curl", "redis-server", "redis-cli", "redis-benchmark"];

/// A server on port 80 that answers every request, as root in its container.
const NGINX: &str = "daemon off;
user root;
pid /tmp/nginx.pid;
error_log stderr warn;
events {}
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    scgi_temp_path /tmp/scgi;
    uwsgi_temp_path /tmp/uwsgi;
    server {
        listen 80;
        location / { return 200 \"served\\n\"; }
        location /fails { return 503; }
    }
}
";

/// Makes all that the cluster starts with.
pub(super) fn make(cluster: &Cluster) -> Result<()> {
    let pause = Image::new(cluster, "pause")?;
    pause.copy(&cluster.programs.busybox, Path::new("busybox"))?;
    pause.build(PAUSE, "COPY busybox /busybox\nENTRYPOINT [\"/busybox\", \"sleep\", \"infinity\"]\n")?;
    tools(cluster)
}

fn tools(cluster: &Cluster) -> Result<()> {
    let image = Image::new(cluster, "tools")?;
    let busybox = Path::new("root/bin/busybox");
    image.copy(&cluster.programs.busybox, busybox)?;
    for applet in ["sh", "sleep", "cat", "true"] {
        image.link("busybox", &format!("root/bin/{applet}"))?;
    }
    for program in PROGRAMS {
        let file = exec::find(program).with_context(|| format!("`{program}` is not installed"))?;
        image.copy(&file, &Path::new("root/usr/bin").join(program))?;
        for library in libraries(&file)? {
            image.copy(&library, &Path::new("root").join(library.strip_prefix("/").unwrap_or(&library)))?;
        }
    }
    for (file, text) in [
        ("root/etc/nginx/nginx.conf", NGINX),
        ("root/etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
        ("root/etc/group", "root:x:0:\n"),
        ("root/tmp/.keep", ""),
        ("root/var/log/nginx/.keep", ""),
        ("root/var/lib/nginx/.keep", ""),
    ] {
        image.write(file, text)?;
    }
    image.build(
        TOOLS,
        "COPY root /\nENV PATH=/usr/bin:/bin\nCMD [\"nginx\", \"-c\", \"/etc/nginx/nginx.conf\"]\n",
    )
}

/// The files of the libraries that a program is linked to, the loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = exec::output(Command::new("ldd").arg(program))
        .with_context(|| format!("ldd does not tell which libraries {} takes", program.display()))?;
    Ok(paths(&text).map(PathBuf::from).collect())
}

/// The paths in lines such as `libz.so.1 => /lib/x/libz.so.1 (0x7f)` and `/lib64/ld.so (0x7f)`.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

/// An image that is being put together.
struct Image<'a> {
    cluster: &'a Cluster,
    context: PathBuf,
}

impl<'a> Image<'a> {
    fn new(cluster: &'a Cluster, name: &str) -> Result<Self> {
        let context = cluster.file("contexts").join(name);
        fs::create_dir_all(&context).with_context(|| format!("could not create {}", context.display()))?;
        Ok(Self { cluster, context })
    }

    /// The place of a file, with the directories above it.
    fn place(&self, to: &Path) -> Result<PathBuf> {
        let place = self.context.join(to);
        if let Some(above) = place.parent() {
            fs::create_dir_all(above).with_context(|| format!("could not create {}", above.display()))?;
        }
        Ok(place)
    }

    /// The file itself where it is a link.
    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let place = self.place(to)?;
        fs::copy(from, &place)
            .with_context(|| format!("could not copy {} to {}", from.display(), place.display()))?;
        Ok(())
    }

    fn link(&self, to: &str, from: &str) -> Result<()> {
        let place = self.place(Path::new(from))?;
        std::os::unix::fs::symlink(to, &place)
            .with_context(|| format!("could not create {}", place.display()))
    }

    fn write(&self, to: &str, text: &str) -> Result<()> {
        let place = self.place(Path::new(to))?;
        fs::write(&place, text).with_context(|| format!("could not write {}", place.display()))
    }

    /// Builds it by a recipe, for the node to import.
    fn build(&self, name: &str, recipe: &str) -> Result<()> {
        self.write("Containerfile", &format!("FROM scratch\n{recipe}"))?;
        let storage = self.cluster.file("storage");
        let buildah = || {
            let mut buildah = Command::new("buildah");
            buildah.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
            buildah.arg("--runroot").arg(storage.join("run"));
            buildah
        };
        let mut bud = buildah();
        bud.args(["bud", "--isolation", "chroot", "--quiet", "--tag", name]).arg(&self.context);
        exec::run(bud.stdout(Stdio::null()))?;
        let file = name.rsplit(['/']).next().unwrap_or(name).replace(':', "-");
        let archive = self.cluster.file("images").join(format!("{file}.tar"));
        exec::run(
            buildah()
                .args(["push", "--quiet", name])
                .arg(format!("docker-archive:{}:{name}", archive.display())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let text =
            "\tlinux-vdso.so.1 (0x7ffd)\n\tlibz.so.1 => /lib/x/libz.so.1 (0x7f)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(paths(text).collect::<Vec<_>>(), ["/lib/x/libz.so.1", "/lib64/ld.so"]);
    }
}
