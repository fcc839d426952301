//! The gRPC surface. The included code is made from `openarchive/**/*.proto` by `tests/generated.rs`
//! (protox, no protoc), which also proves it fresh; run `make gen` after a change.

macro_rules! package {
    ($service:ident) => {
        pub mod $service {
            pub mod v1 {
                include!(concat!("generated/openarchive.", stringify!($service), ".v1.rs"));
            }
        }
    };
}

package!(index);
package!(ingest);
package!(storage);
package!(trust);
package!(worker);
