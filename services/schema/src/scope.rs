use openarchive_domain::Tenant;

/// Whose rows a transaction sees and writes. Row-level security in the database holds to it, whatever the statement
/// says: rows of other tenants are not there, and cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantScope<'t> {
    /// One tenant's: whatever is done for a caller.
    One(&'t Tenant),
    /// The rows of the archive itself, which belong to no tenant (`_`).
    Archive,
    /// All: background work only. The database honours it for the roles that do such work, never for the gateway.
    All,
}

impl TenantScope<'_> {
    /// The value of `openarchive.tenant`. No tenant's name is `_` or `*`: names are DNS labels.
    fn setting(self) -> String {
        match self {
            Self::One(tenant) => tenant.as_str().to_owned(),
            Self::Archive => "_".to_owned(),
            Self::All => "*".to_owned(),
        }
    }

    /// What begins a transaction in this scope: one message to the server, so that the scope costs no round trip.
    pub(crate) fn begin_statement(self) -> String {
        format!("BEGIN; SET LOCAL openarchive.tenant = '{}'", self.setting().replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_the_tenants_name_or_a_sign_that_no_tenant_has() {
        let tenant: Tenant = "acme".parse().unwrap();
        let check = |scope: TenantScope<'_>, value: &str| {
            assert_eq!(scope.begin_statement(), format!("BEGIN; SET LOCAL openarchive.tenant = '{value}'"));
        };
        check(TenantScope::One(&tenant), "acme");
        check(TenantScope::Archive, "_");
        check(TenantScope::All, "*");
        for sign in ["_", "*", "", "a'b"] {
            assert!(sign.parse::<Tenant>().is_err(), "{sign}");
        }
    }
}
