//! Shapes that several kinds share.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Names an object of the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of an ArchiveCore in the same namespace.
    #[schemars(schema_with = "object_name")]
    pub name: String,
}

/// Names a Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of a Secret in the same namespace.
    #[schemars(schema_with = "object_name")]
    pub name: String,
}

/// Of an object's name (RFC 1123, subdomain).
const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// RFC 1123, label.
const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": OBJECT_NAME})
}

/// A tenant, an agent: names that stand in certificates and log origins.
pub(crate) fn dns_label(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": DNS_LABEL})
}

/// A lower-case domain name without a final dot, of at least one label (RFC 1123).
pub(crate) fn domain(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 190, "pattern": OBJECT_NAME})
}

pub(crate) fn domains(generator: &mut SchemaGenerator) -> Schema {
    let item = domain(generator);
    json_schema!({"type": "array", "maxItems": 256, "items": item, "x-kubernetes-list-type": "set"})
}

/// An IPv4 or IPv6 range in CIDR form. Its shape is a pattern, because parsers differ about leading zeros; what exactly an
/// address is, the API server's CEL library decides.
pub(crate) fn cidr(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^(((0|[1-9][0-9]{0,2})\.){3}(0|[1-9][0-9]{0,2})|[0-9A-Fa-f:]+)/(0|[1-9][0-9]{0,2})$";
    json_schema!({
        "type": "string",
        "maxLength": 43,
        "pattern": pattern,
        "x-kubernetes-validations": [{
            "rule": "isCIDR(self) && cidr(self) == cidr(self).masked()",
            "message": "must be an address range such as 10.0.0.0/8 or fd00::/8, with no bit set behind the prefix",
        }],
    })
}

pub(crate) fn cidrs(generator: &mut SchemaGenerator) -> Schema {
    let item = cidr(generator);
    json_schema!({"type": "array", "maxItems": 64, "items": item, "x-kubernetes-list-type": "set"})
}

/// Where an HTTP service answers, without a user, a path or a query.
pub(crate) fn base_url(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$";
    json_schema!({"type": "string", "maxLength": 512, "pattern": pattern})
}

pub(crate) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535})
}

/// A Kubernetes quantity greater than zero, such as 10Gi, without sign and exponent.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "pattern": "^[0-9]{1,15}(\\.[0-9]{1,3})?([kMGTPE]|[KMGTPE]i)?$",
        "x-kubernetes-validations": [{
            // The first part guards the second: an API server hangs on quantity('1e2147483647').
            "rule": "self.matches('^[0-9.]+[A-Za-z]*$') && isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
            "message": "must be a quantity greater than zero, such as 10Gi",
        }],
    })
}

/// Conditions as Kubernetes' own kinds show them: a map by type, so that each writer owns its own.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let item =
        <k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as JsonSchema>::json_schema(generator);
    json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
