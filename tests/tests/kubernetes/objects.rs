//! Objects that tests make.

/// A Deployment of nginx: its container is called `nginx`, and beside it waits one called `idle`.
pub fn nginx(name: &str, replicas: u32) -> String {
    workload(
        "Deployment",
        name,
        &format!("  replicas: {replicas}\n"),
        "[{name: nginx, image: 'localhost/tools:1'}, {name: idle, image: 'localhost/tools:1', command: [sleep, infinity]}]",
    )
}

/// A Deployment of a pod that waits, for load to be sent from it.
pub fn idle(name: &str) -> String {
    workload(
        "Deployment",
        name,
        "  replicas: 1\n",
        "[{name: load, image: 'localhost/tools:1', command: [sleep, infinity]}]",
    )
}

/// A Service of the pods that a Deployment of its name makes.
pub fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\n\
         kind: Service\n\
         metadata: {{name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

/// Something that makes pods.
fn workload(kind: &str, name: &str, spec: &str, containers: &str) -> String {
    format!(
        "apiVersion: apps/v1\n\
         kind: {kind}\n\
         metadata: {{name: {name}}}\n\
         spec:\n{spec}  \
           selector: {{matchLabels: {{app: {name}}}}}\n  \
           template:\n    \
             metadata: {{labels: {{app: {name}}}}}\n    \
             spec:\n      \
               terminationGracePeriodSeconds: 0\n      \
               automountServiceAccountToken: false\n      \
               containers: {containers}\n"
    )
}

/// A `StatefulSet` of nginx.
pub fn stateful_nginx(name: &str, replicas: u32) -> String {
    workload(
        "StatefulSet",
        name,
        &format!("  replicas: {replicas}\n  serviceName: {name}\n"),
        "[{name: nginx, image: 'localhost/tools:1'}]",
    )
}

/// A Deployment of redis, which keeps nothing on disk.
pub fn redis(name: &str) -> String {
    workload(
        "Deployment",
        name,
        "  replicas: 1\n",
        "[{name: redis, image: 'localhost/tools:1', command: [redis-server, --save, '', --protected-mode, 'no']}]",
    )
}

/// A Deployment of nginx whose container takes more memory than it may, as soon as the file `/tmp/full` is there.
pub fn greedy(name: &str) -> String {
    // The shell, which is the container's first process, doubles a text until it is killed, and all others with it.
    let script = "nginx -c /etc/nginx/nginx.conf & while [ ! -e /tmp/full ]; do sleep 0.2; done; x=0123456789abcdef; \
                  while true; do x=$x$x; done";
    workload(
        "Deployment",
        name,
        "  replicas: 1\n",
        &format!(
            "[{{name: nginx, image: 'localhost/tools:1', command: [sh, -c, '{script}'], resources: {{limits: {{memory: 64Mi}}}}}}]"
        ),
    )
}

/// A Deployment of a container that sends requests, and fails.
pub fn crashing(name: &str, to: &str, requests: u32) -> String {
    let script = format!("h2load --h1 -n {requests} -c 2 http://{to}/ && exit 1");
    workload(
        "Deployment",
        name,
        "  replicas: 1\n",
        &format!("[{{name: sends, image: 'localhost/tools:1', command: [sh, -c, '{script}']}}]"),
    )
}

/// A Job that sends requests and is done.
pub fn job(name: &str, to: &str, requests: u32) -> String {
    format!(
        "apiVersion: batch/v1\n\
         kind: Job\n\
         metadata: {{name: {name}}}\n\
         spec:\n{}",
        job_spec(name, to, requests, 2)
    )
}

/// A `CronJob` of the same, due every minute.
pub fn cron_job(name: &str, to: &str, requests: u32) -> String {
    format!(
        "apiVersion: batch/v1\n\
         kind: CronJob\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           schedule: '* * * * *'\n  \
           jobTemplate:\n    \
             spec:\n{}",
        job_spec(name, to, requests, 6)
    )
}

/// What a Job is to do, so far to the right.
fn job_spec(name: &str, to: &str, requests: u32, indent: usize) -> String {
    let lines = [
        "backoffLimit: 0".to_owned(),
        "template:".into(),
        format!("  metadata: {{labels: {{app: {name}}}}}"),
        "  spec:".into(),
        "    restartPolicy: Never".into(),
        "    automountServiceAccountToken: false".into(),
        format!(
            "    containers: [{{name: sends, image: 'localhost/tools:1', command: [h2load, --h1, -n, '{requests}', -c, '5', 'http://{to}/']}}]"
        ),
    ];
    let margin = " ".repeat(indent);
    lines.iter().flat_map(|line| [margin.as_str(), line, "\n"]).collect()
}
