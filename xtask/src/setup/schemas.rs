//! The schemas that what we write is held to, and the programs that do it: of `PyPI`.

use std::path::PathBuf;

use anyhow::Result;

use super::python::Package;

/// Of Kubernetes' objects, so that no cluster of each version is needed. Its versions follow Kubernetes': it has the schemas of
/// that one and of those before it.
const KUBERNETES: Package = Package {
    name: "kubernetes-validate",
    extras: "",
    version: "1.37.0",
    file: "kubernetes_validate/__main__.py",
    why: "manifests are held to the schemas of three versions; some seconds, once for this user",
};

/// Of bills of materials: by those who keep the form.
const BILL: Package = Package {
    name: "cyclonedx-python-lib",
    extras: "[json-validation]",
    version: "11.12.0",
    file: "cyclonedx/validation/json.py",
    why: "the image's bill of materials is held to its schema; some seconds, once for this user",
};

/// Of `OpenMetrics`: the parser of those who wrote the specification.
const OPENMETRICS: Package = Package {
    name: "prometheus-client",
    extras: "",
    version: "0.26.0",
    file: "prometheus_client/openmetrics/parser.py",
    why: "what the agent serves as OpenMetrics is read by the reference parser; a second, once for this user",
};

/// Where that of Kubernetes' objects is, as Python looks for modules.
pub(crate) fn schemas() -> Result<PathBuf> {
    KUBERNETES.ensure()
}

/// Where that of bills of materials is, likewise.
pub(crate) fn bill_schema() -> Result<PathBuf> {
    BILL.ensure()
}

/// Where the parser of `OpenMetrics` is, likewise.
pub(crate) fn openmetrics_parser() -> Result<PathBuf> {
    OPENMETRICS.ensure()
}
